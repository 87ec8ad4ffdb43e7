"""Batches: every pair once each way, distances, offsets, and what cannot be joined."""

import numpy as np
import pytest
import torch

from hpcml.errors import InputError
from hpcml.models import collate, example
from hpcml.molecules import Molecule
from hpcml.molecules.features import graph

ALL = frozenset({"pairs", "atom_features", "pair_features", "bonds"})


def test_pairs_features_and_bonds_equal_those_of_each_molecule(molecules):
    batch = collate([example(molecule, ALL) for molecule in molecules], torch.float64)
    start = 0
    for number, molecule in enumerate(molecules):
        n = len(molecule)
        single = graph(molecule)
        assert (batch.molecule[start : start + n] == number).all()
        np.testing.assert_array_equal(batch.numbers[start : start + n], molecule.numbers)
        np.testing.assert_array_equal(batch.positions[start : start + n], molecule.positions)
        np.testing.assert_array_equal(batch.atom_features[start : start + n], single.atom_features)
        mine = batch.molecule[batch.pairs[0]] == number
        i, j = (batch.pairs[:, mine] - start).tolist()
        assert sorted(zip(i, j, strict=True)) == [
            (a, b) for a in range(n) for b in range(n) if a != b
        ]
        np.testing.assert_allclose(
            batch.distances[mine],
            [np.linalg.norm(molecule.positions[a] - molecule.positions[b])
             for a, b in zip(i, j, strict=True)],
            atol=1e-14,
        )  # fmt: skip
        np.testing.assert_array_equal(batch.pair_features[mine], single.pair_features[i, j])
        bonded = batch.molecule[batch.bonds[0]] == number
        bonds = {tuple(bond) for bond in (batch.bonds[:, bonded] - start).T.tolist()}
        assert bonds == {tuple(b) for b in single.bonds} | {tuple(b[::-1]) for b in single.bonds}
        start += n
    assert start == batch.atoms
    assert batch.size == len(molecules)


def test_second_half_of_pairs_and_bonds_is_the_first_turned_round(molecules):
    batch = collate([example(molecule, ALL) for molecule in molecules])
    for columns in (batch.pairs, batch.bonds):
        first, second = columns.chunk(2, dim=1)
        assert (first == second.flip(0)).all()
        assert (first[0] < first[1]).all()


def test_a_batch_moves_its_floats_alone_to_another_precision(molecules):
    batch = collate([example(molecules[0], ALL)]).to("cpu", torch.float64)
    assert batch.positions.dtype == batch.distances.dtype == torch.float64
    assert batch.pair_features.dtype == batch.atom_features.dtype == torch.float64
    assert batch.numbers.dtype == batch.pairs.dtype == batch.bonds.dtype == torch.int64


def test_one_atom_has_no_pairs_and_no_bonds():
    batch = collate([example(Molecule([9], [[0, 0, 0]], charge=-1), ALL)])
    assert batch.pairs.shape == batch.bonds.shape == (2, 0)
    assert batch.pair_features.shape[0] == 0


def test_what_cannot_be_joined_is_refused(molecules):
    with pytest.raises(InputError, match="at least one"):
        collate([])
    with pytest.raises(InputError, match="same inputs"):
        collate([example(molecules[0], ALL), example(molecules[1], frozenset({"pairs"}))])
    with pytest.raises(InputError, match="charges"):
        example(molecules[0], frozenset({"charges"}))
