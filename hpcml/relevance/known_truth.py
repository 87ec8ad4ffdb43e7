"""Properties whose atoms' shares are known, made up for the molecules at hand.

A network that has learned such a property can be asked for its reasons, and these can be held
against the truth: which rule tells it?  The properties are additive, so that there is a truth,
and their parameters are drawn at random, so that no rule can know it beforehand.

environment   each atom by its element, its multiple bonds and its ring
pairs         each bond of two heavy atoms of an element by its order, half to either atom
decoy         heavy atoms alone: hydrogens, whose number grows with it, are worth nothing

The three are told apart by what may mislead: the decoy can be predicted from the size of a
molecule as well, and then the reasons are wrong though the predictions are right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem


@dataclass(frozen=True)
class KnownTruth:
    """A made-up property of M molecules.

    name          "environment", "pairs", or "decoy"
    atoms         (A,) what each atom adds, no unit; molecules end to end
    composition   "removed": relevance and truth are compared less their elements' means, because
                  these can be had from counts of atoms alone; "kept": as they are
    """

    name: str
    atoms: NDArray[np.float64]
    composition: str


def known_truths(mols: Sequence[Chem.Mol], seed: int = 0) -> list[KnownTruth]:
    """The three properties of molecules with hydrogens explicit; the same seed, the same ones."""
    environment, pairs, decoy = [], [], []
    for mol in mols:
        traits = np.array([_traits(atom) for atom in mol.GetAtoms()])
        numbers = [atom.GetAtomicNum() for atom in mol.GetAtoms()]
        weights = np.array([_draw(seed, z, size=traits.shape[1]) for z in numbers])
        environment.append((traits * weights).sum(axis=1))
        pairs.append(_of_bonds(mol, seed))
        heavy = np.array(numbers) > 1
        decoy.append(heavy * (traits * (1.0, -0.3, -0.5, -0.2, 0.1)).sum(axis=1))
    return [
        KnownTruth("environment", np.concatenate(environment), "removed"),
        KnownTruth("pairs", np.concatenate(pairs), "removed"),
        KnownTruth("decoy", np.concatenate(decoy), "kept"),
    ]


def _traits(atom: Chem.Atom) -> tuple[float, ...]:
    """One, and whether a heavy atom has a double bond, a triple bond, is aromatic, is in a ring."""
    kinds = {bond.GetBondType() for bond in atom.GetBonds()}
    bonds = (Chem.BondType.DOUBLE, Chem.BondType.TRIPLE, Chem.BondType.AROMATIC)
    return (1.0, *(float(kind in kinds) for kind in bonds), float(atom.IsInRing()))


def _of_bonds(mol: Chem.Mol, seed: int) -> NDArray[np.float64]:
    """(n,) half of what each bond of each atom is worth; bonds of hydrogens are worth nothing."""
    atoms = np.zeros(mol.GetNumAtoms())
    for bond in mol.GetBonds():
        ends = [bond.GetBeginAtom(), bond.GetEndAtom()]
        numbers = sorted(end.GetAtomicNum() for end in ends)
        if numbers[0] == numbers[1] > 1:  # of unlike atoms a sum cannot tell whose the half is
            (worth,) = _draw(seed, *numbers, int(2 * bond.GetBondTypeAsDouble()), size=1)
            for end in ends:
                atoms[end.GetIdx()] += 0.5 * worth
    return atoms


def _draw(*seed: int, size: int) -> NDArray[np.float64]:
    """Normal numbers that depend on the seed alone."""
    return np.random.default_rng(seed).normal(size=size)


def agreement(
    relevance: NDArray[np.float64],
    truth: KnownTruth,
    offsets: NDArray[np.int64],
    numbers: NDArray[np.int64],
) -> NDArray[np.float64]:
    """How well relevances tell the truth, molecule by molecule.

    Parameters
    ----------
    relevance : (A,) array
        Of all atoms, molecules end to end, any unit.
    offsets : (M + 1,) integer array
        Molecule m has the atoms offsets[m] to offsets[m + 1].
    numbers : (A,) integer array
        Atomic numbers.

    Returns
    -------
    (M,) array
        Pearson's correlation over the atoms of each molecule; 0 where the relevance does not
        differ between the atoms, NaN where the truth does not.
    """
    told, true = np.asarray(relevance, dtype=np.float64), truth.atoms
    if truth.composition == "removed":
        told, true = _less_means(told, numbers), _less_means(true, numbers)
    molecule = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    told, true = _less_means(told, molecule), _less_means(true, molecule)

    def sums(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.bincount(molecule, values, len(offsets) - 1).astype(np.float64)

    told_size, true_size = np.sqrt(sums(told**2)), np.sqrt(sums(true**2))
    flat = true_size < 1e-9
    scale = np.where(told_size > 0, told_size, np.inf) * np.where(flat, 1.0, true_size)
    found: NDArray[np.float64] = np.where(flat, np.nan, sums(told * true) / scale)
    return found


def _less_means(values: NDArray[np.float64], group: NDArray[np.int64]) -> NDArray[np.float64]:
    """Values less the mean of their group."""
    _, place = np.unique(group, return_inverse=True)
    means = np.bincount(place, values) / np.bincount(place)
    left: NDArray[np.float64] = values - means[place]
    return left
