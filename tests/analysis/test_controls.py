"""Controls and ceilings of the reasons score against hand counts, plain loops and known truth."""

import numpy as np
import pytest

from hpcml.analysis import reasons_score
from hpcml.analysis.atom_traits import AtomTraits
from hpcml.analysis.controls import additive_fit, controls, shares_of_isomers
from hpcml.analysis.perception import Perceived
from hpcml.analysis.reasons_table import holm
from hpcml.molecules import molecule_from_smiles, perceive

SMILES = [
    *("CCO", "COC", "CCC", "CC(C)O", "CCCO", "COCC", "CCN", "CNC", "CC=O", "C1CO1", "CC(=O)O"),
    *("COC=O", "OCC=O", "CCCC", "CC(C)C", "CC#N", "C1CC1", "C=CC", "NCC=O", "CC(N)=O", "OCCO"),
    *("c1ccccc1", "C1CCCCC1", "CC(C)(C)O", "CCOCC", "CCCCO", "C=CC=C", "CC#C", "N#CCO", "CN(C)C"),
]


@pytest.fixture(scope="module")
def molecules():
    return [molecule_from_smiles(smiles) for smiles in SMILES]


@pytest.fixture(scope="module")
def traits(molecules):
    return traits_of(molecules)


def traits_of(molecules):
    numbers = np.concatenate([molecule.numbers for molecule in molecules])
    offsets = np.cumsum([0, *map(len, molecules)])
    return AtomTraits(numbers.astype(int), Perceived(molecules, offsets))


def test_traits_are_those_of_the_bonds(molecules, traits):
    """Atom by atom as RDKit tells them."""
    place = 0
    for molecule in molecules:
        start = place
        for atom in perceive(molecule).GetAtoms():
            beside = [other.GetAtomicNum() for other in atom.GetNeighbors()]
            assert traits.hydrogens[place] == beside.count(1)
            assert traits.neighbours(8)[place] == beside.count(8)
            assert traits.perceived.in_ring[place] == atom.IsInRing()
            if atom.GetAtomicNum() == 1:
                assert traits.owner[place] == start + atom.GetNeighbors()[0].GetIdx()
            else:
                assert traits.owner[place] == place
            place += 1
    # CH3, CH2 and OH of ethanol, and its hydrogens; C=O is another kind of carbon
    assert len(set(traits.environments[:9].tolist())) == 4
    assert traits.perceived.holds("nitrile").tolist() == ["C#N" in s or "N#C" in s for s in SMILES]


def test_shares_of_isomers_by_hand(molecules):
    """Ethanol and dimethyl ether take each other's; a copy of oneself is no isomer."""
    chosen = [molecules[SMILES.index(s)] for s in ("CCO", "COC", "CCC", "CCO")]
    traits = traits_of(chosen)
    share = np.arange(1.0, 1.0 + len(traits.numbers))
    found = shares_of_isomers(traits, share, np.array([0, 1, 2, 0]))
    ethanol, ether, propane, copy = np.split(found, traits.offsets[1:-1])
    first = 1.0 + traits.offsets[1]  # share of the ether's first atom, which are C O C H H H H H H
    assert sorted(ethanol[:2]) == [first, first + 2]
    assert ethanol[2] == first + 1
    assert sorted(ethanol[3:]) == list(first + np.arange(3, 9))
    assert sorted(copy) == sorted(ethanol)
    assert ether[1] in (3.0, 3.0 + traits.offsets[3])  # the oxygen of one of the ethanols
    assert np.isnan(propane).all()


def test_isomers_are_matched_by_their_hydrogens(molecules):
    """A share that is the number of hydrogens is told exactly where isomers have the same ones."""
    chosen = [molecules[SMILES.index(s)] for s in ("CCCO", "CC(C)O")]
    traits = traits_of(chosen)
    found = shares_of_isomers(traits, traits.hydrogens.astype(float), np.arange(2))
    # carbons with 3, 2, 2 and with 3, 1, 3 hydrogens: sorted 2 2 3 and 1 3 3
    assert found[: traits.offsets[1]][[0, 3]].tolist() == [3.0, 1.0]
    assert sorted(found[1:3]) == [1.0, 3.0]


def test_additive_fit_is_the_least_squares_solution_where_that_is_exact(traits):
    """Values that are sums over environments and bonds: predicted exactly, for those not fitted
    too, and the shares are told (each element's mean but for what the counts leave open)."""
    random = np.random.default_rng(0)
    worth = random.normal(size=traits.environments.max() + 1)
    share = worth[traits.environments] + 0.3 * traits.neighbours(8)
    values = np.add.reduceat(share, traits.offsets[:-1])
    learned_from = np.ones(len(values), dtype=bool)
    fit = additive_fit(traits, values, learned_from)
    np.testing.assert_allclose(fit.prediction, values, atol=0.05 * values.std())
    score = reasons_score(fit.atoms, share, traits.offsets, kinds=traits.numbers)
    means = controls(traits, share, np.arange(len(values)))["element means"]
    assert score.rank > 0.6
    assert reasons_score(means, share, traits.offsets).correlation < score.correlation + 0.4
    learned_from[:] = False
    assert additive_fit(traits, values, learned_from) is None


def test_additive_fit_does_not_know_what_values_do_not_tell(traits):
    """A share that adds up to nothing in each molecule leaves no trace in the values."""
    random = np.random.default_rng(1)
    share = random.normal(size=len(traits.numbers))
    molecule = np.repeat(np.arange(len(SMILES)), np.diff(traits.offsets))
    share -= (np.bincount(molecule, share) / np.bincount(molecule))[molecule]
    values = np.bincount(molecule, traits.numbers)
    fit = additive_fit(traits, values.astype(float), np.ones(len(values), dtype=bool))
    score = reasons_score(fit.atoms, share, traits.offsets)
    assert score.rank_low < 0.0 < score.rank_high


def test_holm_by_the_example_of_textbooks():
    found = holm(np.array([0.01, 0.04, np.nan, 0.03, 0.005]))
    np.testing.assert_allclose(found, [0.03, 0.06, np.nan, 0.06, 0.02])
    assert holm(np.array([0.6, 0.7])).tolist() == [1.0, 1.0]
