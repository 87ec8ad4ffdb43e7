"""What the reasons score of a network must be held against: controls below it, ceilings above.

A control knows nothing of the molecule at hand, or one simple thing.  A ceiling says how much of
the shares there is to know for anyone who is in the network's place.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import RidgeCV

from hpcml.analysis.atom_traits import AtomTraits
from hpcml.analysis.reasons import molecule_of

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

ADDITIVE = "additive fit"
SECOND_PARTITION = "second partition"
CEILINGS = (ADDITIVE, SECOND_PARTITION)
"""The lines of reasons.csv that are no controls."""
_PENALTIES = np.logspace(-6, 3, 10)


def controls(
    traits: AtomTraits, share: Floats, constitution: Integers, seed: int = 0
) -> dict[str, Floats]:
    """Values that know nothing, or only something simple, of the molecules at hand.

    Parameters
    ----------
    traits
        Of A atoms.
    share : (A,) array
        Shares, target's unit; NaN where it is not known.
    constitution : (M,) integer array
        As ``molecules.constitutions`` gives it: the same for copies of a molecule.
    seed : int
        Of what is drawn.

    Returns
    -------
    dict of (A,) array
        "random" normal deviates; "shuffled shares", within each molecule; "isomer's shares", see
        ``shares_of_isomers``; "element means" and "environment means" of the shares (element,
        hybridization, number of hydrogens); "hydrogens" bonded to the atom.  NaN where a control
        has no value: without bonds, without an isomer.
    """
    random = np.random.default_rng(seed)
    noise = random.normal(size=len(share))
    molecule = molecule_of(traits.offsets)
    shuffled = share[np.lexsort((random.random(len(share)), molecule))]
    return {
        "random": noise,
        "shuffled shares": shuffled,
        "isomer's shares": shares_of_isomers(traits, share, constitution),
        "element means": _means(share, traits.numbers),
        "environment means": np.where(traits.known, _means(share, traits.environments), np.nan),
        "hydrogens": np.where(traits.known, traits.hydrogens, np.nan).astype(np.float64),
    }


def shares_of_isomers(traits: AtomTraits, share: Floats, constitution: Integers) -> Floats:
    """Each atom's share in another molecule of the same formula.

    Molecules of one formula stand in a ring, sorted by constitution, and each takes the shares of
    one that lies behind the copies of itself.  Atoms are matched element by
    element, those of an element by the number of hydrogens on them (of a hydrogen: on the atom
    that it is bonded to), then in the order of the file: what formula and hydrogens tell, on the
    right scale.

    Parameters
    ----------
    traits
        Of A atoms.
    share : (A,) array
        Any unit.
    constitution : (M,) integer array
        The same for copies of a molecule.

    Returns
    -------
    (A,) array
        NaN for molecules without bonds or shares, or without an isomer that has both.
    """
    offsets, size = traits.offsets, np.diff(traits.offsets)
    molecule = molecule_of(offsets)
    elements, element = np.unique(traits.numbers, return_inverse=True)
    formula = np.zeros((len(size), len(elements)), dtype=np.int64)
    np.add.at(formula, (molecule, element), 1)
    missing = np.bincount(molecule, ~np.isfinite(share) | ~traits.known, len(size))
    rows = np.flatnonzero((missing == 0) & (size > 0))
    _, ring = np.unique(formula[rows], axis=0, return_inverse=True)
    sort = np.lexsort((constitution[rows], ring.reshape(-1)))
    rows, ring = rows[sort], ring.reshape(-1)[sort]
    first, length = np.searchsorted(ring, ring), np.bincount(ring)[ring]
    place = np.arange(len(rows)) - first
    begins = np.ones(len(rows), dtype=bool)  # copies of one molecule in a ring
    begins[1:] = (np.diff(ring) > 0) | (np.diff(constitution[rows]) != 0)
    copies = np.cumsum(begins) - 1
    start, count = place[begins][copies], np.bincount(copies)[copies] if len(rows) else place
    others = np.maximum(length - count, 1)
    source = rows[first + (start + count + (place - start) % others) % np.maximum(length, 1)]
    order = np.lexsort((traits.hydrogens[traits.owner], traits.numbers, molecule))
    found = np.full(len(share), np.nan)
    for row, other in zip(rows.tolist(), source.tolist(), strict=True):
        if constitution[row] != constitution[other]:
            mine, theirs = (order[offsets[one] : offsets[one + 1]] for one in (row, other))
            found[mine] = share[theirs]
    return found


def _means(share: Floats, kinds: Integers) -> Floats:
    """(A,) the mean share of each atom's kind."""
    known = np.isfinite(share)
    _, kind = np.unique(kinds, return_inverse=True)
    count = np.bincount(kind[known], minlength=kind.max(initial=0) + 1)
    sums = np.bincount(kind[known], share[known], len(count))
    means: Floats = np.where(count > 0, sums / np.maximum(count, 1), np.nan)
    return means[kind]


# ---------------------------------------------------------------------------- the ceiling


@dataclass(frozen=True)
class AdditiveFit:
    """What a sum over atoms that was fitted to the molecules' values says.

    atoms        (A,) of each atom, target's unit; NaN without bonds
    prediction   (M,) of each molecule, target's unit; NaN without bonds
    """

    atoms: Floats
    prediction: Floats


def additive_fit(
    traits: AtomTraits, values: Floats, learned_from: NDArray[np.bool_]
) -> AdditiveFit | None:
    """How much of the shares can be known from the molecules' values alone, by adding up.

    Each atom is worth a number by its element, hybridization and number of hydrogens, and one
    for each neighbour by the elements of both.  The numbers are those that fit the molecules'
    values best: ridge regression, its penalty by leave-one-out cross-validation.

    Parameters
    ----------
    traits
        Of A atoms of M molecules.
    values : (M,) array
        The target, its unit.
    learned_from : (M,) boolean array
        Molecules that are fitted: those that the network has learned from.

    Returns
    -------
    AdditiveFit
        None where fewer than two molecules can be fitted.
    """
    molecule, molecules = molecule_of(traits.offsets), len(values)
    usable = learned_from & np.isfinite(values) & traits.perceived.known
    if usable.sum() < 2:
        return None
    kinds, kind = np.unique(traits.environments, return_inverse=True)
    columns = [
        np.bincount(molecule[kind == place], minlength=molecules) for place in range(len(kinds))
    ]
    elements = np.unique(traits.numbers).tolist()
    pairs = []
    for other in elements:
        bonded = traits.neighbours(other)
        for element in elements:
            mine = np.where(traits.numbers == element, bonded, 0)
            if mine.any():
                pairs.append((element, other))
                columns.append(np.bincount(molecule, mine, molecules))
    design = np.stack(columns, axis=1).astype(np.float64)
    model = RidgeCV(alphas=_PENALTIES).fit(design[usable], values[usable])
    worth = model.coef_
    atoms = worth[kind]
    for place, (element, other) in enumerate(pairs, start=len(kinds)):
        atoms += worth[place] * np.where(traits.numbers == element, traits.neighbours(other), 0)
    return AdditiveFit(
        atoms=np.where(traits.known, atoms, np.nan),
        prediction=np.where(traits.perceived.known, model.predict(design), np.nan),
    )
