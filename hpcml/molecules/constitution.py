"""Which of many molecules are one: the same atoms with the same bonds, however they lie.

A turned, mirrored, shifted or renumbered geometry keeps its constitution, and so does another
conformer, stereoisomer or isotopologue.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem

_TABLE = Chem.GetPeriodicTable()
_RADII = np.array([0.0] + [_TABLE.GetRcovalent(number) for number in range(1, 119)])  # angstrom
_LONGEST_BOND = 1.3  # in units of the sum of covalent radii, as bonds are perceived
_PAIRS_AT_ONCE = 1_000_000
_REFINEMENTS = 6  # bonds that an atom looks along; what they do not tell apart is looked at whole

_AT_ONCE = 1 << 17  # molecules

Colours = NDArray[np.uint64]
Columns = tuple[NDArray[np.integer], NDArray[np.float64], NDArray[np.int64], NDArray[np.integer]]
"""Numbers, positions, offsets, states: what ``constitutions`` takes."""


def constitutions(
    numbers: NDArray[np.integer],
    positions: NDArray[np.float64],
    offsets: NDArray[np.int64],
    states: NDArray[np.integer],
) -> NDArray[np.int64]:
    """A number for each molecule: the same for the same constitution and the same state.

    Bonds are pairs within 1.3 sums of covalent radii.  Colours of atoms, refined along the bonds
    (B. Weisfeiler and A. Leman, NTI Ser. 2, 9, 12 (1968)), tell most molecules apart at once;
    those that look alike are compared by their graphs' canonical SMILES.

    Parameters
    ----------
    numbers, positions
        (A,) atomic numbers and (A, 3) positions in angstrom of all molecules, end to end.
    offsets
        (M + 1,) where each molecule's atoms begin and end.
    states
        (M, S) integers that must agree as well: charge, multiplicity.

    Returns
    -------
    (M,) int64 array
        Numbers from 0, without gaps.
    """

    def read(rows: NDArray[np.int64]) -> Columns:
        cuts = offsets[rows]
        lengths = offsets[rows + 1] - cuts
        ends = np.concatenate([[0], np.cumsum(lengths)])
        atoms = np.arange(ends[-1]) + np.repeat(cuts - ends[:-1], lengths)
        return numbers[atoms], positions[atoms], ends, np.asarray(states)[rows]

    return constitutions_in_blocks(read, len(offsets) - 1)


def constitutions_in_blocks(
    read: Callable[[NDArray[np.int64]], Columns], count: int
) -> NDArray[np.int64]:
    """``constitutions`` of so many molecules, some of which are read at a time.

    read    from some of their numbers to what ``constitutions`` takes, of these

    Returns
    -------
    (count,) int64 array
        Numbers from 0, without gaps, in the order in which they come first.
    """
    blocks = [np.arange(at, min(count, at + _AT_ONCE)) for at in range(0, count, _AT_ONCE)]
    told = [_told_apart(*read(rows)) for rows in blocks]
    whole = np.concatenate([np.empty(0, np.uint64), *told])
    _, alike, counts = np.unique(whole, return_inverse=True, return_counts=True)
    doubtful = np.flatnonzero(counts[alike] > 1)
    seen: dict[tuple[int, str], int] = {}
    known: dict[bytes, str] = {}  # conformers mostly come with their atoms in one order
    first = np.arange(count)  # of the molecules that are the same
    for at in range(0, len(doubtful), _AT_ONCE):
        rows = doubtful[at : at + _AT_ONCE]
        numbers, positions, offsets, _ = read(rows)
        graphs = _canonical(numbers, _bonds(numbers, positions, offsets), offsets, known)
        for row, graph in zip(rows.tolist(), graphs, strict=True):
            first[row] = seen.setdefault((int(alike[row]), graph), row)
    numbers_of_first = np.cumsum(first == np.arange(count)) - 1
    return np.asarray(numbers_of_first[first], np.int64)


def _told_apart(
    numbers: NDArray[np.integer],
    positions: NDArray[np.float64],
    offsets: NDArray[np.int64],
    states: NDArray[np.integer],
) -> Colours:
    """A colour for each molecule, which others may share: see ``constitutions``."""
    first, second = _bonds(numbers, positions, offsets)
    colours = _mixed(numbers.astype(np.uint64))
    for _ in range(_REFINEMENTS):
        around = np.zeros_like(colours)
        told = _mixed(colours)
        np.add.at(around, first, told[second])
        np.add.at(around, second, told[first])
        colours = _mixed(colours + around)
    whole = np.zeros(len(offsets) - 1, np.uint64)
    np.add.at(whole, np.repeat(np.arange(len(whole)), np.diff(offsets)), _mixed(colours))
    for state in np.asarray(states).T:
        whole = _mixed(whole ^ state.astype(np.int64).astype(np.uint64))
    return whole


def _mixed(values: Colours) -> Colours:
    """Each value scattered over all 64 bits: splitmix64 (G. L. Steele et al., OOPSLA 2014)."""
    z = values + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: Colours = z ^ (z >> np.uint64(31))
    return mixed


def _bonds(
    numbers: NDArray[np.integer], positions: NDArray[np.float64], offsets: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Both atoms of every bond, numbered over all molecules, ordered by the first."""
    found = [
        (starts[molecule] + i, starts[molecule] + j)
        for starts, size in _of_one_size(offsets)
        for molecule, i, j in [_bonded(numbers, positions, starts, size)]
    ]
    first = np.concatenate([one for one, _ in found]) if found else np.empty(0, np.int64)
    second = np.concatenate([other for _, other in found]) if found else np.empty(0, np.int64)
    order = np.lexsort((second, first))
    return first[order], second[order]


def _of_one_size(offsets: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], int]]:
    """First atoms of molecules that have as many atoms, and how many; some molecules at a time."""
    sizes = np.diff(offsets)
    for size in np.unique(sizes).tolist():
        starts = offsets[:-1][sizes == size]
        step = max(1, _PAIRS_AT_ONCE // size**2)
        for at in range(0, len(starts), step):
            yield starts[at : at + step], size


def _bonded(
    numbers: NDArray[np.integer],
    positions: NDArray[np.float64],
    starts: NDArray[np.int64],
    size: int,
) -> tuple[NDArray[np.int64], ...]:
    """(molecule, i, j) of each bond, i < j, of molecules of one size."""
    atoms = starts[:, None] + np.arange(size)
    radii = _RADII[numbers[atoms]]
    where = positions[atoms]
    squares = np.zeros((len(starts), size, size))
    for axis in range(3):
        along = where[:, :, None, axis] - where[:, None, :, axis]
        squares += along * along
    reach = _LONGEST_BOND * (radii[:, :, None] + radii[:, None, :])
    return np.nonzero(np.triu(squares < reach * reach, 1))


def _canonical(
    numbers: NDArray[np.integer],
    bonds: tuple[NDArray[np.int64], NDArray[np.int64]],
    offsets: NDArray[np.int64],
    known: dict[bytes, str],
) -> Iterator[str]:
    """A text for each molecule, the same for the same graph; ``known`` keeps those made before."""
    for start, stop in pairwise(offsets.tolist()):
        of_row = slice(*np.searchsorted(bonds[0], [start, stop]))
        pairs = np.stack([bonds[0][of_row], bonds[1][of_row]], axis=1) - start
        elements = numbers[start:stop]
        same = elements.tobytes() + b"/" + pairs.tobytes()
        if same not in known:
            known[same] = _graph_text(elements.tolist(), pairs.tolist())
        yield known[same]


def _graph_text(elements: list[int], pairs: list[list[int]]) -> str:
    graph = Chem.RWMol()
    for number in elements:
        atom = Chem.Atom(number)
        atom.SetNoImplicit(True)
        graph.AddAtom(atom)
    for first, second in pairs:
        graph.AddBond(first, second, Chem.BondType.SINGLE)
    graph.UpdatePropertyCache(strict=False)
    return str(Chem.MolToSmiles(graph))
