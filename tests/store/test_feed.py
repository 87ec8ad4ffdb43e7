"""Each row once an epoch, the same batches at any number of ranks, bounded memory."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcml.errors import SettingsError
from hpcml.store import Dataset, Feed, ShardWriter
from hpcml.store.feed import epoch_batches


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("feed")


@pytest.fixture
def data(folder, schema, make_row):
    if not list(folder.iterdir()):
        with ShardWriter(folder, schema, "a", rows_per_shard=16) as writer:
            for number in range(53):
                writer.append(make_row(number))
    return Dataset.open(folder)


COLUMNS = ("alpha_iso", "numbers", "positions", "vibrational_frequencies")


@settings(max_examples=200, deadline=None)
@given(
    rows=st.integers(1, 3000),
    batch=st.integers(1, 400),
    seed=st.integers(0, 2**32),
    buffer_rows=st.integers(1, 5000),
)
def test_every_row_once_in_nearly_equal_batches(rows, batch, seed, buffer_rows):
    steps = -(-rows // batch)
    batches = list(epoch_batches(rows, steps, seed, 3, buffer_rows=buffer_rows))
    assert len(batches) == steps
    sizes = [len(b) for b in batches]
    assert max(sizes) <= batch
    assert max(sizes) - min(sizes) <= 1
    assert np.array_equal(np.sort(np.concatenate(batches)), np.arange(rows))


def test_ranks_share_the_batches_of_one(data):
    alone = list(Feed(data, COLUMNS, 10, seed=5).epoch(2))
    for ranks in (2, 3, 5):
        feeds = [Feed(data, COLUMNS, 10, seed=5, rank=r, ranks=ranks) for r in range(ranks)]
        shares = [list(feed.epoch(2)) for feed in feeds]
        assert {len(share) for share in shares} == {len(alone)} == {feeds[0].steps}
        for step, whole in enumerate(alone):
            parts = [share[step].rows for share in shares]
            assert {len(part) for part in parts} <= {len(whole) // ranks, -(-len(whole) // ranks)}
            assert min(len(part) for part in parts) > 0
            together = np.empty_like(whole.rows)
            for rank, part in enumerate(parts):
                together[rank::ranks] = part
            assert np.array_equal(together, whole.rows)


def test_values_are_those_of_the_rows(data):
    for batch in Feed(data, COLUMNS, 7, seed=1, buffer_rows=20).epoch(0):
        for place, number in enumerate(batch.rows):
            row = data[int(number)]
            assert np.array_equal(batch.columns["alpha_iso"][place], row.values["alpha_iso"])
            atoms = slice(*batch.offsets["positions"][place : place + 2])
            assert np.array_equal(batch.columns["positions"][atoms], row.molecule.positions)
            modes = slice(*batch.offsets["vibrational_frequencies"][place : place + 2])
            assert np.array_equal(
                batch.columns["vibrational_frequencies"][modes],
                row.values["vibrational_frequencies"],
            )


def test_subsets_are_fed_too(data):
    chosen = np.array([50, 3, 17, 4, 40, 41])
    feed = Feed(data.subset(chosen), ("key",), 4, seed=1)
    keys = {key.tobytes().hex() for batch in feed.epoch(0) for key in batch.columns["key"]}
    assert keys == set(data.keys[chosen])


def test_seed_and_epoch_decide_the_order(data):
    def order(seed, epoch):
        batches = Feed(data, ("energy",), 10, seed=seed).epoch(epoch)
        return np.concatenate([batch.rows for batch in batches]).tolist()

    assert order(1, 0) == order(1, 0)
    assert order(1, 0) != order(1, 1)
    assert order(1, 0) != order(2, 0)


def test_shuffling_mixes_the_whole_data_set():
    """Over the epoch, a row's place is uncorrelated with its number; also with a small buffer."""
    for buffer_rows in (512, 100_000):
        batches = epoch_batches(50_000, 500, 1, 0, buffer_rows=buffer_rows)
        order = np.concatenate(list(batches))
        assert abs(np.corrcoef(order, np.arange(50_000))[0, 1]) < 0.1
        assert np.abs(np.diff(order)).mean() > 0.2 * min(buffer_rows, 50_000) / 2


def test_no_rank_is_left_without_work(data):
    with pytest.raises(SettingsError, match="leave 2 rows in some for 3 ranks"):
        Feed(data.subset(range(5)), ("energy",), 4, seed=0, rank=0, ranks=3)
    with pytest.raises(SettingsError):
        Feed(data, ("energy",), 8, seed=0, rank=2, ranks=2)
