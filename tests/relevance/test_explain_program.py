"""The program as the campaign starts it: on two ranks, again, and after changes."""

import numpy as np
import pytest
import torch

from hpcml.errors import InputError, SettingsError
from hpcml.models import collate, example
from hpcml.molecules import Molecule
from hpcml.relevance import LEDGER, ExplainSettings, explain, open_relevance
from hpcml.relevance.explain_settings import read_settings
from hpcml.relevance.explain_stage import explain_dataset, explain_rows
from hpcml.relevance.interactions import interactions
from hpcml.store import Dataset, Manifest, Shard, shards
from hpcml.training.model_file import load_model, save_model
from hpcml.training.model_folder import ModelFolder
from hpcml.training.targets import Target
from hpcml.training.world import Alone


@pytest.fixture(scope="module")
def expected(dataset, model_folder):
    """The relevance of each row, each molecule in a batch of its own."""
    model, _ = load_model(model_folder)
    settings = ExplainSettings(rule="epsilon")
    return [
        next(explain_rows(model, dataset, np.array([row]), settings))[1]
        for row in range(len(dataset))
    ]


def test_two_ranks_explain_row_for_row(start, dataset, model_folder, expected, tmp_path):
    destination = tmp_path / "relevance"
    done = start(dataset.folder, model_folder, destination, ranks=2)
    assert done.returncode == 0, done.stderr
    assert "explain: 80/80" in done.stderr
    rows = open_relevance(destination, dataset)
    assert (rows.model, rows.target.label, rows.unit) == ("weave", "alpha_iso", "a0^3")
    np.testing.assert_array_equal(rows.offsets, dataset.atom_offsets)
    for index, alone in enumerate(expected):
        row = rows[index]
        assert row.prediction == pytest.approx(alone.prediction, rel=1e-5)
        np.testing.assert_allclose(row.ledger, alone.ledger, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(row.atoms, alone.atoms, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(row.atom_ledger, alone.atom_ledger, rtol=1e-3, atol=1e-4)
        assert row.booked.sum() + row.molecule_ledger.sum() == pytest.approx(
            row.prediction, rel=1e-5
        )
        whole = row.atoms.sum() + row.ledger.sum()
        assert whole == pytest.approx(row.prediction, rel=1e-5)
    np.testing.assert_array_equal(rows.prediction, [rows[i].prediction for i in range(len(rows))])
    np.testing.assert_array_equal(rows.atoms, np.concatenate([row.atoms for row in rows]))
    of_atoms = np.concatenate([row.atom_ledger for row in rows])
    np.testing.assert_array_equal(rows.atom_ledger, of_atoms)
    np.testing.assert_array_equal(rows.booked, np.concatenate([row.booked for row in rows]))
    assert rows.cancellation.min() >= 1.0
    assert [entry.name for entry in Manifest(destination)] == [s.name for s in dataset.shards]
    for entry in Manifest(destination):
        np.testing.assert_array_equal(
            dataset.shard(entry.name).column("key"), Shard(destination, entry).column("key")
        )


# what follows needs no processes of its own: one rank, called as the program calls it


@pytest.fixture
def explained(model_folder, tmp_path):
    """explained(dataset, settings, stop): finished or not; into one folder, ``.folder``."""

    def run(dataset, settings=ExplainSettings(rule="epsilon"), stop=lambda: False):  # noqa: B008  frozen
        return explain_dataset(dataset, model_folder, run.folder, settings, Alone(), stop=stop)

    run.folder = tmp_path / "relevance"
    return run


def times(folder):
    return {path.name: path.stat().st_mtime_ns for path in folder.rglob("*.h5")}


def test_what_is_done_is_not_done_again(explained, dataset):
    assert explained(dataset)
    before = times(explained.folder)
    assert explained(dataset)
    assert times(explained.folder) == before
    lost = next((explained.folder / "shards").glob("*.h5"))
    lost.unlink()
    assert explained(dataset)
    again = times(explained.folder)
    assert {name for name in before if again[name] != before[name]} == {lost.name}


def test_changed_settings_make_everything_again(explained, dataset):
    assert explained(dataset)
    before = times(explained.folder)
    assert explained(
        dataset, ExplainSettings(rule="epsilon", batch_size=7)
    )  # changes rounding alone
    assert times(explained.folder) == before
    assert explained(dataset, ExplainSettings(rule="gamma"))
    after = times(explained.folder)
    assert all(after[name] != before[name] for name in before)
    assert open_relevance(explained.folder, dataset).rule == "gamma"


def test_changed_data_are_noticed(explained, dataset):
    """A relevance shard of the right name made from other data: refused, then made again."""
    assert explained(dataset)
    entry = next(iter(Manifest(explained.folder)))
    old = Shard(explained.folder, entry)
    other = {**entry.attributes, "source": "sha256:" + 64 * "0"}
    columns = {name: old.column(name) for name in entry.columns}
    shards.write(explained.folder, entry.name, columns, other)
    with pytest.raises(InputError, match="explain again"):
        open_relevance(explained.folder, dataset)
    before = times(explained.folder)
    assert explained(dataset)
    after = times(explained.folder)
    assert {name for name in before if after[name] != before[name]} == {f"{entry.name}.h5"}
    assert len(open_relevance(explained.folder, dataset)) == len(dataset)


def test_relevances_without_a_ledger_by_atom_open(explained, dataset):
    """As version 0.1.0 wrote them: all of the ledger is the molecules'."""
    assert explained(dataset)
    for entry in list(Manifest(explained.folder)):
        old = Shard(explained.folder, entry)
        columns = {name: old.column(name) for name in entry.columns if name != "atom_ledger"}
        about = {**entry.attributes, "target": "alpha_iso"}
        shards.write(explained.folder, entry.name, columns, about)
    rows = open_relevance(explained.folder, dataset)
    assert rows.target == Target(name="alpha_iso")
    np.testing.assert_array_equal(rows.booked, rows.atoms)
    np.testing.assert_array_equal(rows[3].molecule_ledger, rows.ledger[3])
    assert not rows.atom_ledger.any()


def test_changed_model_is_noticed(explained, dataset, model_folder, trained):
    assert explained(dataset)
    before = times(explained.folder)
    file = ModelFolder(model_folder).network
    kept = file.read_bytes()
    try:
        model, info = load_model(model_folder)
        with torch.no_grad():
            next(model.parameters()).mul_(1.5)
        save_model(model_folder, model.state_dict(), info)
        assert explained(dataset)
    finally:
        file.write_bytes(kept)
    after = times(explained.folder)
    assert all(after[name] != before[name] for name in before)


def test_molecule_that_the_network_cannot_take(explained, molecules, write_dataset, tmp_path):
    """Two atoms on one spot have no bonds to perceive: that row is NaN, the others are not."""
    strange = Molecule([6, 6, 8], [[0, 0, 0], [0, 0, 0.01], [0, 0, 0.02]], charge=1)
    data = write_dataset(tmp_path / "data", [*molecules[:4], strange, *molecules[4:6]])
    assert explained(data, ExplainSettings(rule="epsilon", pairs="inputs"))
    rows = open_relevance(explained.folder, data)
    assert np.isnan(rows[4].pairs).tolist() == [True] * 3
    assert np.isfinite(rows[3].pairs).all()
    assert np.flatnonzero(np.isnan(rows.prediction)).tolist() == [4]
    assert np.isnan(rows[4].atoms).all()
    assert np.isnan(rows.atoms).sum() == 3


def test_stopped_run_goes_on(explained, dataset):
    """Stopped within the third shard: two are there, and the next start does the rest."""
    asked = iter([False, False, True])
    assert not explained(dataset, stop=lambda: next(asked))
    assert len(Manifest(explained.folder).entries) == 2
    with pytest.raises(InputError, match="not explained yet"):
        open_relevance(explained.folder, dataset)
    kept = times(explained.folder)
    assert explained(dataset)
    after = times(explained.folder)
    assert {name: after[name] for name in kept} == kept
    assert len(open_relevance(explained.folder, dataset)) == len(dataset)


def test_relevance_of_pairs_is_kept(explained, dataset, model_folder):
    """Pair by pair what explain gives, and half of an atom's pairs is what is not its own."""
    assert explained(dataset, ExplainSettings(rule="epsilon", pairs="inputs", batch_size=32))
    rows = open_relevance(explained.folder, dataset)
    model, _ = load_model(model_folder)
    assert rows.pairs == "inputs"
    for index in (0, 3, 40, 79):
        molecule = dataset.molecules[index]
        found = explain(model, collate([example(molecule, model.inputs)]))
        i, j = np.triu_indices(len(molecule), 1)
        pairs = rows[index].pairs
        assert len(pairs) == len(i)
        np.testing.assert_allclose(pairs, sum(found.pair.chunk(2)), rtol=1e-3, atol=1e-4)
        halves = np.bincount(i, 0.5 * pairs, len(molecule))
        halves += np.bincount(j, 0.5 * pairs, len(molecule))
        np.testing.assert_allclose(rows[index].atoms - found.own.numpy(), halves, atol=1e-3)
        booked = rows[index].pair_ledger
        np.testing.assert_allclose(booked, found.pair_ledger, rtol=1e-3, atol=1e-4)
        assert booked.shape == (len(i), len(LEDGER))
        assert np.abs(booked).max() > 1e-3


def test_interactions_are_kept(explained, dataset, model_folder):
    assert explained(dataset, ExplainSettings(pairs="interactions", rule="gamma"))
    rows = open_relevance(explained.folder, dataset)
    model, _ = load_model(model_folder)
    for index in (2, 41):
        n = len(dataset.molecules[index])
        batch = collate([example(dataset.molecules[index], model.inputs)])
        found = interactions(model, batch, "gamma")
        matrix = np.zeros((n, n))
        matrix[found.source, found.reader] = found.relevance
        np.testing.assert_allclose(matrix.sum(axis=1), rows[index].atoms, rtol=1e-3, atol=1e-4)
        expected = (matrix + matrix.T)[np.triu_indices(n, 1)]
        np.testing.assert_allclose(rows[index].pairs, expected, rtol=1e-3, atol=1e-4)


def test_pairs_that_a_network_does_not_have(dataset, trained, tmp_path):
    model, info = trained("linear")
    save_model(tmp_path, model.float().state_dict(), info)
    model.double()
    with pytest.raises(SettingsError, match="LinearRegression by 'epsilon' gives pairs nothing"):
        explain_dataset(
            dataset,
            tmp_path,
            tmp_path / "relevance",
            ExplainSettings(rule="epsilon", pairs="inputs"),
            Alone(),
        )


def test_rows_of_a_subset(explained, dataset):
    """Relevances follow the rows of a view of the data set, whatever their order."""
    assert explained(dataset)
    whole = open_relevance(explained.folder, dataset)
    chosen = np.array([63, 2, 40, 17])
    part = open_relevance(explained.folder, dataset.subset(chosen))
    np.testing.assert_array_equal(part.prediction, whole.prediction[chosen])
    np.testing.assert_array_equal(part.atoms, np.concatenate([whole[i].atoms for i in chosen]))


def test_ledger_columns_are_stored_in_their_order(explained, dataset, model_folder):
    """The mean's column holds atom_mean for each atom, which nothing else could."""
    assert explained(dataset)
    rows = open_relevance(str(explained.folder), Dataset.open(dataset.folder))
    scaling = load_model(model_folder)[1].scaling
    np.testing.assert_allclose(
        rows.ledger[:, LEDGER.index("mean")],
        np.diff(rows.offsets) * scaling.atom_mean[0],
        rtol=1e-5,
        atol=1e-6,
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b'{"rule": "deep_taylor"}', "deep_taylor"),
        (b'{"epsilonn": 1}', "epsilonn"),
        (b'{"batch_size": 0}', "batch_size"),
        (b'{"rule"', "explain.json"),
    ],
)
def test_wrong_settings(text, message):
    with pytest.raises(SettingsError, match=message):
        read_settings(text, "explain.json")


def test_target_that_the_network_has_not(explained, dataset):
    with pytest.raises(SettingsError, match="no target 'zpve'; there are alpha_iso"):
        explained(dataset, ExplainSettings(rule="epsilon", target="zpve"))


def test_error_is_one_line_and_exit_code_2(start, dataset, tmp_path):
    done = start(dataset.folder, tmp_path / "no-model", tmp_path / "relevance")
    assert done.returncode == 2
    assert done.stderr.strip().splitlines() == [
        f"hpcml explain: rank 0: {tmp_path}/no-model/model.pt: no trained model there "
        "(hpcml train makes one)"
    ]
