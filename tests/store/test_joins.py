"""Joined data sets show the same molecule in the same row."""

import numpy as np

from hpcml.store import Dataset, Row, Schema, ShardWriter, join


def test_join_by_molecule_and_by_key(tmp_path, schema, make_row):
    other = Schema(columns=("homo",))
    with ShardWriter(tmp_path / "x", schema, "a", rows_per_shard=3) as writer:
        for number in range(8):
            writer.append(make_row(number))
    with ShardWriter(tmp_path / "y", other, "a", rows_per_shard=3) as writer:
        for number in (9, 6, 3, 20, 5):
            values = {"homo": np.array(float(number))}
            writer.append(Row(f"{number:032x}", make_row(number).molecule, values))
    left, right = join([Dataset.open(tmp_path / "x"), Dataset.open(tmp_path / "y")])
    assert list(left.molecule_keys) == list(right.molecule_keys)
    assert list(left.keys) == [make_row(number).key for number in (3, 5, 6)]
    assert right.column("homo").tolist() == [3.0, 5.0, 6.0]
    nothing, _ = join([Dataset.open(tmp_path / "x"), Dataset.open(tmp_path / "y")], by="key")
    assert len(nothing) == 0
    assert nothing.column("share_zpve").shape == (0,)
