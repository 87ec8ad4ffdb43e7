from dataclasses import replace

import numpy as np
import pytest

from hpcml.errors import InputError
from hpcml.molecules import (
    ATOM_FEATURES,
    PAIR_FEATURES,
    Graph,
    Molecule,
    graph,
    molecule_from_smiles,
)


def atom_column(features: Graph, name: str) -> list[float]:
    return features.atom_features[:, ATOM_FEATURES.index(name)].tolist()


def pair_matrix(features: Graph, name: str) -> np.ndarray:
    return features.pair_features[:, :, PAIR_FEATURES.index(name)]


def shortest_paths(n: int, bonds: np.ndarray) -> np.ndarray:
    """Floyd and Warshall, plainly."""
    steps = np.full((n, n), np.inf)
    np.fill_diagonal(steps, 0)
    for first, second in bonds:
        steps[first, second] = steps[second, first] = 1
    for via in range(n):
        steps = np.minimum(steps, steps[:, via, None] + steps[None, via])
    return steps


def test_shapes_and_symmetry(qm9_sample: list[Molecule]) -> None:
    assert len(set(ATOM_FEATURES)) == len(ATOM_FEATURES)
    assert len(set(PAIR_FEATURES)) == len(PAIR_FEATURES)
    for molecule in qm9_sample:
        g = graph(molecule)
        n = len(molecule)
        assert g.atom_features.shape == (n, len(ATOM_FEATURES))
        assert g.pair_features.shape == (n, n, len(PAIR_FEATURES))
        assert g.atom_features.dtype == g.pair_features.dtype == g.distances.dtype == np.float32
        assert g.bonds.dtype == np.int64
        assert np.array_equal(g.pair_features, g.pair_features.transpose(1, 0, 2))
        assert not g.pair_features[np.arange(n), np.arange(n)].any()
        assert (g.bonds[:, 0] < g.bonds[:, 1]).all()


def test_paths_and_distances_against_plain_ones(qm9_sample: list[Molecule]) -> None:
    for molecule in qm9_sample:
        g = graph(molecule)
        steps = shortest_paths(len(molecule), g.bonds)
        for bonds in range(1, 8):
            assert np.array_equal(pair_matrix(g, f"graph_distance_{bonds}"), steps == bonds)
        for i, first in enumerate(molecule.positions):
            for j, second in enumerate(molecule.positions):
                assert g.distances[i, j] == pytest.approx(np.linalg.norm(first - second), abs=1e-5)
        assert np.array_equal(pair_matrix(g, "spatial_distance"), g.distances)
        kinds = sum(pair_matrix(g, kind) for kind in ("single", "double", "triple", "aromatic"))
        assert np.array_equal(kinds, steps == 1)


def test_type_columns_count_the_elements(qm9_sample: list[Molecule]) -> None:
    for molecule in qm9_sample:
        for element in "HCNOF":
            expected = [float(s == element) for s in molecule.symbols]
            assert atom_column(graph(molecule), f"type_{element}") == expected


def test_what_a_chemist_says_of_pyrrole_and_friends() -> None:
    pyrrole = graph(molecule_from_smiles("c1cc[nH]c1"))  # atoms C C C N C H...
    assert atom_column(pyrrole, "aromatic")[:5] == [1.0] * 5
    assert atom_column(pyrrole, "rings_of_5") == [1.0] * 5 + [0.0] * 5
    assert atom_column(pyrrole, "donor") == [0, 0, 0, 1, 0, 0, 0, 0, 0, 0]
    assert sum(atom_column(pyrrole, "acceptor")) == 0
    assert pair_matrix(pyrrole, "same_ring").sum() == 5 * 4
    assert pair_matrix(pyrrole, "aromatic").sum() == 5 * 2

    acid = graph(molecule_from_smiles("CC(=O)O"))
    assert atom_column(acid, "sp3")[:2] == [1.0, 0.0]
    assert atom_column(acid, "sp2")[:3] == [0.0, 1.0, 1.0]
    assert atom_column(acid, "donor")[:4] == [0.0, 0.0, 0.0, 1.0]
    assert atom_column(acid, "acceptor")[2] == 1.0
    assert pair_matrix(acid, "double")[1, 2] == 1.0

    nitrile = graph(molecule_from_smiles("CC#N"))
    assert atom_column(nitrile, "sp")[:3] == [0.0, 1.0, 1.0]
    assert pair_matrix(nitrile, "triple")[1, 2] == 1.0

    spiro = graph(molecule_from_smiles("C1CC12CCC2"))
    assert atom_column(spiro, "rings_of_3")[:6] == [1, 1, 1, 0, 0, 0]
    assert atom_column(spiro, "rings_of_4")[:6] == [0, 0, 1, 1, 1, 1]


def test_mirror_images_differ_in_chirality_alone() -> None:
    left = molecule_from_smiles("C[C@H](N)O")
    right = replace(left, positions=left.positions * [-1, 1, 1])
    a, b = graph(left), graph(right)
    assert np.array_equal(a.pair_features, b.pair_features)
    columns = np.flatnonzero((a.atom_features != b.atom_features).any(axis=0))
    assert [ATOM_FEATURES[c] for c in columns] == ["chirality_R", "chirality_S"]
    assert atom_column(a, "chirality_R") == atom_column(b, "chirality_S")
    assert sum(atom_column(a, "chirality_R")) + sum(atom_column(a, "chirality_S")) == 1


def test_features_follow_the_order_of_the_atoms(qm9_sample: list[Molecule]) -> None:
    for molecule in qm9_sample[:20]:
        order = np.random.default_rng(3).permutation(len(molecule))
        mixed = replace(
            molecule, numbers=molecule.numbers[order], positions=molecule.positions[order]
        )
        a, b = graph(molecule), graph(mixed)
        assert np.array_equal(a.atom_features[order], b.atom_features)
        assert np.allclose(a.pair_features[order][:, order], b.pair_features, atol=1e-6)


def test_a_single_atom_has_no_pairs() -> None:
    helium_like = graph(molecule_from_smiles("[F-]"))
    assert helium_like.bonds.shape == (0, 2)
    assert not helium_like.pair_features.any()


def test_an_element_without_a_column() -> None:
    with pytest.raises(InputError, match="no graph features for Se, only for H C N"):
        graph(molecule_from_smiles("C[SeH]"))
