"""Rows that are learned from, and how they are dealt into batches and to ranks."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcml.errors import InputError, SettingsError
from hpcml.response.properties import ResponseProperties
from hpcml.store import Dataset, Row, Schema, ShardWriter
from hpcml.training import Target, levels
from hpcml.training.data import epoch_batches, find_candidates, read_data, share_of_rank
from hpcml.training.identity import differences, identity_of
from hpcml.training.train_settings import Bounds, TrainSettings, read_settings
from hpcml.training.world import Alone


def test_rows_without_any_target_are_left_out_and_counted(dataset, molecules) -> None:
    targets = (Target(name="alpha_iso"), Target(name="zpve"))
    both = find_candidates(dataset, targets)
    assert both.left_out == {}
    assert np.argwhere(np.isnan(both.values)).tolist() == [[7, 0], [8, 1]]
    found = find_candidates(dataset, targets[1:])
    assert found.left_out == {"no value of zpve": 1}
    assert found.keys == [f"{row:032x}" for row in range(80) if row != 8]
    assert found.molecule_keys == [molecule.key for molecule in found.rows.molecules]
    hydrogens = [int((m.numbers == 1).sum()) for m in found.rows.molecules]
    np.testing.assert_allclose(found.values[:, 0], 0.01 * np.array(hydrogens))


def test_data_are_the_rows_asked_for(dataset, molecules) -> None:
    targets = (Target(name="dipole"), Target(name="zpve"))
    keys = [f"{row:032x}" for row in (70, 3, 11)]
    data = read_data(find_candidates(dataset, targets), keys, frozenset(), Alone())
    assert data.keys == sorted(keys)
    assert list(data.rows.molecules) == [molecules[row] for row in (3, 11, 70)]
    np.testing.assert_allclose(data.values[:, 0], [len(m) for m in data.rows.molecules])
    assert data.units == ("e a0", "Eh")


def test_levels_as_rows_of_different_origin_tell_them(tmp_path, molecules) -> None:
    provenances = [
        {"method": "HF", "basis": {"name": "6-31G(d)", "functions": 30}, "wall_seconds": 2.5},
        {"method": "B3LYP", "basis": "6-31G(2df,p)", "program": "Gaussian 09"},
        {"method": "AM1"},
        {},
    ]
    with ShardWriter(tmp_path, Schema(columns=("energy",)), "test") as writer:
        for number, provenance in enumerate(provenances):
            values = {"energy": np.array(-1.0)}
            writer.append(Row(f"{number:032x}", molecules[number], values, provenance))
    assert levels(Dataset.open(tmp_path)) == ["HF/6-31G(d)", "B3LYP/6-31G(2df,p)", "AM1", ""]


def test_target_that_the_data_set_has_not(dataset) -> None:
    with pytest.raises(InputError, match="no column 'beta_parallel'"):
        find_candidates(dataset, (Target(name="beta_parallel"),))


def test_rows_whose_scf_is_no_minimum_are_left_out_unless_wanted(tmp_path, molecules) -> None:
    eigenvalues = (None, 0.3, -0.05, -1e-6)
    with ShardWriter(tmp_path, Schema(columns=("energy",)), "test") as writer:
        for number, eigenvalue in enumerate(eigenvalues):
            values = {"energy": np.array(-1.0)}
            if eigenvalue is not None:
                values["orbital_hessian"] = np.array(eigenvalue)
            warnings = ["no minimum"] if number == 2 else ["a basis"] * (number == 1)
            row = Row(f"{number:032x}", molecules[number], values, {"warnings": warnings})
            writer.append(row)
    data, targets = Dataset.open(tmp_path), (Target(name="energy"),)
    for leave_out, kept in (("unstable", [0, 1, 3]), ("warned", [0, 3]), ("nothing", [0, 1, 2, 3])):
        found = find_candidates(data, targets, leave_out)
        assert found.keys == [f"{row:032x}" for row in kept]
        assert sum(found.left_out.values()) == 4 - len(kept)
    assert find_candidates(data, targets).left_out == {
        "an SCF that is no minimum (train.leave_out)": 1
    }
    assert data.warned.tolist() == [False, True, True, False]


def _states(folder, molecules):
    """Two closed shells, two doublets of <S^2> 0.76 and 1.10, and what orbitals say of three."""
    facts = [
        (1, {"homo": -0.5, "lumo": 0.1, "first_excitation": 0.3}),
        (1, {"homo": -0.3, "lumo": -0.05, "first_excitation": 0.1}),
        (2, {"homo": -0.4, "lumo": 0.1, "spin_squared": 0.76}),
        (2, {"spin_squared": 1.10}),
    ]
    schema = Schema(columns=("energy",))
    with ShardWriter(folder, schema, "test") as writer:
        for number, (multiplicity, provenance) in enumerate(facts):
            molecule = replace(molecules[number], multiplicity=multiplicity)
            result = ResponseProperties(-1.0, np.zeros(3), provenance=provenance)
            writer.append(Row.from_result(f"{number:032x}", molecule, result, schema))
    return Dataset.open(folder)


@pytest.mark.parametrize(
    ("within", "kept"),
    [
        ({"gap": Bounds(least=0.3)}, [0, 2, 3]),
        ({"spin_contamination": Bounds(most=0.1)}, [0, 1, 2]),
        ({"first_excitation": Bounds(least=0.15), "homo": Bounds(most=-0.45)}, [0, 3]),
        ({"energy": Bounds(least=-1.0, most=-1.0)}, [0, 1, 2, 3]),
    ],
)
def test_rows_can_be_kept_within_bounds_of_what_their_state_says(
    tmp_path, molecules, within, kept
) -> None:
    """One without a value is kept."""
    data = _states(tmp_path, molecules)
    found = find_candidates(data, (Target(name="energy"),), "nothing", within)
    assert found.keys == [f"{row:032x}" for row in kept]
    assert sum(found.left_out.values()) == 4 - len(kept)
    assert all("(train.within)" in reason for reason in found.left_out)


def test_a_bound_on_what_no_row_has_is_told(tmp_path, molecules) -> None:
    data = _states(tmp_path, molecules)
    for name, message in (("orbital_hessian", "no row of"), ("gapp", ".* has no column")):
        with pytest.raises(InputError, match=f"train.within: {message}"):
            find_candidates(data, (Target(name="energy"),), within={name: Bounds(least=0.0)})
    with pytest.raises(SettingsError, match="least 1 is above most 0"):
        Bounds(least=1, most=0)
    with pytest.raises(SettingsError, match="least, most, or both"):
        Bounds()


def test_settings_without_bounds_are_those_of_earlier_versions() -> None:
    bounded = TrainSettings(within={"gap": Bounds(least=0.1)})
    assert read_settings(msgspec.json.encode(bounded), "here") == bounded
    before, now = (identity_of(one, "data") for one in (TrainSettings(), bounded))
    assert "within" not in before
    assert set(differences(before, now)) == set(differences(now, before)) == {"within"}


def test_no_row_left(dataset) -> None:
    with pytest.raises(InputError, match="1 rows, none of which can be learned from"):
        find_candidates(dataset.subset([7]), (Target(name="alpha_iso"),))


@given(st.integers(1, 300), st.integers(1, 64), st.integers(0, 3), st.integers(1, 5))
def test_batches_and_shares_hold_every_row_once(rows: int, size: int, epoch: int, ranks: int):
    chosen = np.arange(rows) * 3
    atoms = np.random.default_rng(1).integers(1, 20, size=3 * rows)
    batches = epoch_batches(chosen, size, seed=1, epoch=epoch)
    lengths = [len(batch) for batch in batches]
    assert max(lengths) <= size
    assert max(lengths) - min(lengths) <= 1
    dealt = [share_of_rank(batch, atoms, r, ranks) for batch in batches for r in range(ranks)]
    assert sorted(np.concatenate(dealt)) == chosen.tolist()
    counts = [len(share) for share in dealt[:ranks]]
    assert max(counts) - min(counts) <= 1


def test_order_is_another_each_epoch_and_the_same_each_time() -> None:
    rows = np.arange(100)
    first, again = (np.concatenate(epoch_batches(rows, 8, 1, 0)) for _ in range(2))
    assert (first == again).all()
    assert (first != np.concatenate(epoch_batches(rows, 8, 1, 1))).any()
    assert (first != np.concatenate(epoch_batches(rows, 8, 2, 0))).any()


def test_large_molecules_are_shared_evenly() -> None:
    atoms = np.array([29, 27, 9, 8, 7, 3])
    shares = [share_of_rank(np.arange(6), atoms, rank, 2) for rank in range(2)]
    assert [atoms[share].sum() for share in shares] == [29 + 8 + 7, 27 + 9 + 3]
