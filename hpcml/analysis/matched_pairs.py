"""pairs_matched.csv: pairs of molecules that differ in one group. Does the group carry the change?

Two molecules are a matched pair where cutting one bond of each leaves the same larger piece: what
stays.  The other pieces are what changed.  A network with right reasons gives the change of the
property to the atoms that changed, as far as the physics does: the change of their shares.

Fragments are RDKit's (``rdMMPA``, the algorithm of J. Hussain and C. Rea, J. Chem. Inf. Model. 50,
339 (2010)); of mmpdb, the program for databases of pairs, no atom of a fragment can be traced back
to its row, which is what relevances need.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem
from rdkit.Chem import rdMMPA

from hpcml.analysis.perception import Perceived
from hpcml.analysis.reasons import Floats, correlation_with_interval
from hpcml.relevance.relevance_rows import RelevanceRows

Integers = NDArray[np.int64]
Table = list[dict[str, object]]

_CUT = "[!#1]!@!=!#[*]"  # a single bond in no ring, hydrogens' bonds among them
_MOST_CUTS = 200
_MOST_OF_ONE_PIECE = 40
"""Molecules with the same larger piece that are paired with each other: 780 pairs."""


@dataclass(frozen=True)
class Cut:
    """A molecule cut at one bond.

    stays, changes   canonical SMILES of the larger and the smaller piece; "[*:1]" is the bond
    atoms            (k,) atoms of the smaller piece, in the molecule's order
    """

    stays: str
    changes: str
    atoms: Integers


@dataclass(frozen=True)
class Pair:
    """Two molecules with the same larger piece, and what the change of one group is worth.

    first, second         numbers of the molecules
    stays                 SMILES of the piece that both have
    changes               SMILES of the groups, of the first molecule and of the second
    atoms                 (k,) of either group, in its molecule's order
    """

    first: int
    second: int
    stays: str
    changes: tuple[str, str]
    atoms: tuple[Integers, Integers]


def cuts(mol: Chem.Mol) -> list[Cut]:
    """The ways to cut a molecule at one bond, those that look alike once.

    Parameters
    ----------
    mol
        With explicit hydrogens.  The piece with fewer heavy atoms is the one that changes; where
        both have as many there is none.
    """
    mol = Chem.Mol(mol)
    for atom in mol.GetAtoms():
        atom.SetIntProp("place", atom.GetIdx())
    found = []
    for _, pieces in rdMMPA.FragmentMol(
        mol, minCuts=1, maxCuts=1, maxCutBonds=_MOST_CUTS, pattern=_CUT, resultsAsMols=True
    ):
        small, large = sorted(Chem.GetMolFrags(pieces, asMols=True), key=_heavy)
        if _heavy(small) < _heavy(large):
            places = [a.GetIntProp("place") for a in small.GetAtoms() if a.HasProp("place")]
            stays, changes = (_smiles(piece) for piece in (large, small))
            found.append(Cut(stays, changes, np.array(sorted(places), dtype=np.int64)))
    return found


def _smiles(piece: Chem.Mol) -> str:
    """Canonical SMILES, of hydrogens only the one that is a piece by itself."""
    quiet = Chem.RemoveHsParameters()
    quiet.showWarnings = False  # type: ignore[assignment]  # the stubs' mistake
    return str(Chem.MolToSmiles(Chem.RemoveHs(piece, quiet)))


def _heavy(mol: Chem.Mol) -> int:
    return sum(atom.GetAtomicNum() > 1 for atom in mol.GetAtoms())


def matched_pairs(mols: Iterable[tuple[int, Chem.Mol]]) -> list[Pair]:
    """The pairs among molecules; of two that match in several ways the least change.

    Parameters
    ----------
    mols
        The number of each molecule, and RDKit's view of it with explicit hydrogens.

    Of more than 40 molecules with the same larger piece the first 40 are paired.
    """
    same: dict[str, list[tuple[int, Cut]]] = defaultdict(list)
    for number, mol in mols:
        for cut in cuts(mol):
            same[cut.stays].append((number, cut))
    found: dict[tuple[int, int], Pair] = {}
    for stays, members in same.items():
        for (first, one), (second, other) in combinations(members[:_MOST_OF_ONE_PIECE], 2):
            if first == second or one.changes == other.changes:
                continue
            pair = Pair(
                first, second, stays, (one.changes, other.changes), (one.atoms, other.atoms)
            )
            if one.changes > other.changes:  # the same change always has the same direction
                pair = Pair(second, first, stays, pair.changes[::-1], pair.atoms[::-1])
            both = (min(first, second), max(first, second))
            if both not in found or _size(pair) < _size(found[both]):
                found[both] = pair
    return list(found.values())


def _size(pair: Pair) -> int:
    return sum(map(len, pair.atoms))


# --------------------------------------------------------------------- what the change is worth


def pairs_tables(
    rows: RelevanceRows,
    share: Floats | None,
    mols: Perceived,
    parts: Mapping[str, NDArray[np.bool_]],
    most: int,
) -> tuple[Table, Table]:
    """A line for each pair, the second molecule less the first, in the target's unit; and the sum.

    Parameters
    ----------
    rows
        Relevances of M molecules with A atoms.
    share : (A,) array
        What the physics assigns to each atom; None where it is not known.
    mols
        What RDKit sees in each molecule.
    parts : part of the split -> (M,) boolean array
        A pair has the part of both its molecules, or of two "across".
    most
        Molecules that are looked at, drawn at random from those that could be explained.
    """
    offsets, dataset = rows.offsets, rows.dataset
    known = np.flatnonzero(np.isfinite(rows.prediction) & mols.known)
    drawn: list[int] = sorted(np.random.default_rng(0).permutation(known)[:most].tolist())
    of_molecules = {"property": rows.target.values(dataset), "prediction": rows.prediction}
    of_atoms = {"relevance": rows.atoms} | ({} if share is None else {"share": share})
    keys, table = dataset.keys, []
    for pair in matched_pairs((row, mol) for row in drawn if (mol := mols[row]) is not None):
        ends = [pair.first, pair.second]
        part = next((name for name, inside in parts.items() if inside[ends].all()), "across")
        line: dict[str, object] = {"part": part, "from": keys[ends[0]], "to": keys[ends[1]]}
        line |= {"stays": pair.stays, "changed": pair.changes[0], "into": pair.changes[1]}
        for name, values in of_molecules.items():
            line[name] = float(values[ends[1]] - values[ends[0]])
        for name, values in of_atoms.items():
            changed = [values[offsets[e] + a].sum() for e, a in zip(ends, pair.atoms, strict=True)]
            whole = [values[offsets[e] : offsets[e + 1]].sum() for e in ends]
            line[f"{name}_changed"] = float(changed[1] - changed[0])
            line[f"{name}_stays"] = float(np.subtract(*whole[::-1]) - np.subtract(*changed[::-1]))
        table.append(line)
    return table, pairs_summary(table, ["all", *parts])


_QUESTIONS = (
    ("relevance_changed", "property"),
    ("relevance_changed", "prediction"),
    ("share_changed", "property"),
    ("relevance_changed", "share_changed"),
    ("prediction", "property"),
)


def pairs_summary(table: Table, parts: Iterable[str]) -> Table:
    """Do changes agree?  A line for each part of the split and each pair of changes.

    correlation, low, high  of the changes, a pair being as good as the same pair the other way
                            round (no mean is taken off), over ``pairs`` that have no molecule in
                            common, with its 95 % interval; and over ``pairs_all``
    carried                 what there is of the first change for each unit of the second
    transformation          "kept", or "removed": the mean of each kind of change (say, H into
                            methyl) taken off first, which is what knowing the groups alone tells;
                            the interval is over kinds of change then
    """
    lines: Table = []
    for part in parts:
        mine = [line for line in table if part in ("all", line["part"])]
        apart = _apart(mine)
        for what, against in _QUESTIONS:
            if not mine or what not in mine[0] or against not in mine[0]:
                continue
            for transformation in ("kept", "removed"):
                few, many = (
                    _agreement(some, what, against, transformation) for some in (apart, mine)
                )
                lines.append(
                    {
                        **{"part": part, "change_of": what, "with": against},
                        **{"transformation": transformation, **few},
                        **{f"{name}_all": many[name] for name in ("correlation", "pairs")},
                    }
                )
    return lines


def _agreement(lines: Table, what: str, against: str, transformation: str) -> dict[str, float]:
    """Correlation through the origin with its interval, slope, and how many pairs took part."""
    x, y = (np.array([line[name] for line in lines], dtype=np.float64) for name in (what, against))
    names = np.array([f"{line['changed']}>{line['into']}" for line in lines], dtype=str)
    known = np.isfinite(x) & np.isfinite(y)
    x, y, names = x[known], y[known], names[known]
    cluster = np.arange(len(x))
    floor = 1e-20 * np.array([np.square(x).sum(), np.square(y).sum()])  # what rounding leaves
    if transformation == "removed" and len(x):
        _, kind, size = np.unique(names, return_inverse=True, return_counts=True)
        often = size[kind] > 1
        x, y = (v - (np.bincount(kind, v) / size)[kind] for v in (x, y))
        x, y = x[often], y[often]
        _, cluster = np.unique(kind[often], return_inverse=True)
    sums: Floats = np.stack(
        [np.bincount(cluster, p) for p in (x * y, x * x, y * y)], axis=1, dtype=np.float64
    )
    total = sums.sum(axis=0)
    varies = total[1:] > floor
    nothing = (np.nan, np.nan, np.nan)
    r, low, high = correlation_with_interval(sums) if varies.all() else nothing
    carried = float(total[0] / total[2]) if varies[1] else np.nan
    return {"correlation": r, "low": low, "high": high, "carried": carried, "pairs": len(x)}


def _apart(lines: Table) -> Table:
    """Pairs at random until every molecule is in one at most: draws that are independent."""
    taken: set[object] = set()
    chosen = []
    for place in np.random.default_rng(0).permutation(len(lines)).tolist():
        line = lines[place]
        if line["from"] not in taken and line["to"] not in taken:
            taken |= {line["from"], line["to"]}
            chosen.append(line)
    return chosen
