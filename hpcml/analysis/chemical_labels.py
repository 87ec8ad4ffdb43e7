"""What chemistry says of an atom or a molecule: the labels that vectors are asked for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpcml.analysis.perception import HYBRIDIZATIONS, Perceived
from hpcml.analysis.reasons import molecule_of
from hpcml.errors import InputError
from hpcml.molecules import symbol
from hpcml.molecules.groups import GROUPS
from hpcml.store import Dataset
from hpcml.training.targets import Target

_YES_OR_NO = ("no", "yes")


@dataclass(frozen=True)
class Label:
    """One label of R atoms or molecules.

    kinds    what it can be; empty for a number
    values   (R,) number of the kind, -1 where not known; or the number itself, NaN where not known
    """

    name: str
    kinds: tuple[str, ...]
    values: NDArray[np.int8] | NDArray[np.float64]

    @property
    def known(self) -> NDArray[np.bool_]:
        """(R,) where there is one."""
        return self.values >= 0 if self.kinds else np.isfinite(self.values)

    def at(self, places: NDArray[np.int64]) -> Label:
        """The label of some of the atoms or molecules.

        Parameters
        ----------
        places : (k,) integer array
        """
        return Label(self.name, self.kinds, self.values[places])


@dataclass(frozen=True)
class Labelled:
    """The R atoms, or molecules, of a data set with their labels.

    labels     of all
    molecule   (R,) the molecule of each, itself for molecules
    within     what the strata are: what is known of an atom or molecule before anything else is
    stratum    (R,) number of it, from 0
    """

    labels: tuple[Label, ...]
    molecule: NDArray[np.int64]
    within: str
    stratum: NDArray[np.int64]


def atom_labels(dataset: Dataset, perceived: Perceived) -> Labelled:
    """Element; hybridization, ring, aromaticity and bonded hydrogens of heavy atoms; the groups
    that an atom, or the heavy atom it is bonded to, belongs to; and every number that the data
    set has for each atom (charges, shares, own labels).  Strata are the elements."""
    numbers = dataset.column("numbers")
    elements, element = np.unique(numbers, return_inverse=True)
    molecule = molecule_of(perceived.offsets)
    known = perceived.known[molecule]
    heavy = known & (numbers > 1)
    names = tuple(symbol(int(z)) for z in elements)
    labels = [
        Label("element", names, element.astype(np.int8)),
        Label("hybridization", HYBRIDIZATIONS, _where(heavy, perceived.hybridization)),
        Label("in a ring", _YES_OR_NO, _where(heavy, perceived.in_ring)),
        Label("aromatic", _YES_OR_NO, _where(heavy, perceived.aromatic)),
        Label("bonded hydrogens", (), np.where(heavy, perceived.hydrogens, np.nan)),
    ]
    for name in GROUPS:
        inside = np.zeros(len(numbers), dtype=bool)
        inside[perceived.groups[name].atoms] = True
        labels.append(Label(name, _YES_OR_NO, _where(known, inside)))
    for name in dataset.schema.columns:
        column = dataset.schema.column(name)
        if column.per == "atom" and not column.axes and column.dtype == "<f8":
            labels.append(Label(_words(name), (), dataset.column(name)))
    return Labelled(tuple(labels), molecule, "element", element.astype(np.int64))


def molecule_labels(dataset: Dataset, perceived: Perceived, targets: Iterable[Target]) -> Labelled:
    """Numbers of atoms, heavy atoms and atoms beside carbon and hydrogen; ring, aromaticity and
    groups; and the network's targets where the data set has them.  Strata are the molecules of as
    many heavy atoms."""
    numbers, offsets = dataset.column("numbers"), perceived.offsets
    molecule = molecule_of(offsets)

    def count(chosen: NDArray[np.bool_]) -> NDArray[np.float64]:
        return np.bincount(molecule[chosen], minlength=len(dataset)).astype(np.float64)

    heavy = count(numbers > 1)
    labels = [
        Label("atoms", (), np.diff(offsets).astype(np.float64)),
        Label("heavy atoms", (), heavy),
        Label("heteroatoms", (), count((numbers != 1) & (numbers != 6))),
        Label("with a ring", _YES_OR_NO, _where(perceived.known, count(perceived.in_ring) > 0)),
        Label("aromatic", _YES_OR_NO, _where(perceived.known, count(perceived.aromatic) > 0)),
    ]
    labels += [
        Label(f"with {name}", _YES_OR_NO, _where(perceived.known, perceived.holds(name)))
        for name in GROUPS
    ]
    for target in targets:
        try:
            labels.append(Label(f"target {target.label}", (), target.values(dataset)))
        except InputError:  # another data set than the network's, without it
            continue
    return Labelled(
        tuple(labels), np.arange(len(dataset)), "number of heavy atoms", heavy.astype(np.int64)
    )


def _where(known: NDArray[np.bool_], values: NDArray[np.generic]) -> NDArray[np.int8]:
    return np.where(known, values.astype(np.int8), -1).astype(np.int8)


def _words(column: str) -> str:
    return {"mulliken_charges": "Mulliken charge"}.get(
        column, column.replace("share_", "share of ")
    )
