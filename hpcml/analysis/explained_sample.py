"""Explained molecules beside their true values and shares, cut to any of them: what is compared."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hpcml.analysis.perception import HYBRIDIZATIONS, Perceived
from hpcml.molecules import symbol
from hpcml.relevance.relevance_rows import RelevanceRows
from hpcml.store import Dataset
from hpcml.store.rows import offsets_of, ranges

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class ExplainedSample:
    """M molecules with A atoms, each end to end.

    keys          (M,) of the rows
    error         (M,) prediction less true value, target's unit; NaN where either is not known
    value         (M,) true value, target's unit
    heavy_atoms   (M,) atoms that are not hydrogen
    offsets       (M + 1,) molecule m has the atoms offsets[m] to offsets[m + 1]
    relevance     (A,) target's unit; NaN where a molecule could not be explained
    own_terms     (A,) what was booked at the atom itself: biases, steps, references
    share         (A,) what the physics assigns to the atom; NaN where it is not known
    numbers       (A,) atomic numbers
    environment   (A,) the atom's environment: a number that is the same for the same element,
                  hybridization and number of hydrogens (``environment_name``)
    """

    keys: NDArray[np.str_]
    error: Floats
    value: Floats
    heavy_atoms: Integers
    offsets: Integers
    relevance: Floats
    own_terms: Floats
    share: Floats
    numbers: Integers
    environment: Integers

    def __len__(self) -> int:
        return len(self.keys)

    def of(self, molecules: NDArray[np.bool_]) -> ExplainedSample:
        """Some of the molecules.

        Parameters
        ----------
        molecules : (M,) boolean array
        """
        rows = np.flatnonzero(molecules)
        atoms = ranges(self.offsets, rows)
        by_atom = ("relevance", "own_terms", "share", "numbers", "environment")
        by_molecule = ("keys", "error", "value", "heavy_atoms")
        return replace(
            self,
            offsets=offsets_of(np.diff(self.offsets)[rows]),
            **{name: getattr(self, name)[rows] for name in by_molecule},
            **{name: getattr(self, name)[atoms] for name in by_atom},
        )

    def with_own_terms(self) -> ExplainedSample:
        """The same molecules, each atom's relevance with what its own terms say."""
        return replace(self, relevance=self.relevance + self.own_terms)


def explained_sample(dataset: Dataset, rows: RelevanceRows) -> ExplainedSample:
    """All rows of a data set, explained by ``rows``; no share where the data set has none."""
    name, offsets = rows.target.share_name, dataset.atom_offsets
    numbers = dataset.column("numbers").astype(np.int64)
    share = np.full(len(numbers), np.nan)
    if rows.target.is_static and name in dataset.columns:
        share = dataset.column(name)
    seen = Perceived(dataset.molecules, offsets)
    value = rows.target.values(dataset)
    return ExplainedSample(
        keys=dataset.keys,
        error=rows.target.told(rows.prediction) - value,
        value=value,
        heavy_atoms=np.add.reduceat((numbers > 1).astype(np.int64), offsets[:-1]),
        offsets=offsets,
        relevance=rows.atoms,
        own_terms=rows.atom_ledger.sum(axis=1),
        share=share,
        numbers=numbers,
        environment=numbers * 100 + seen.hybridization * 10 + np.minimum(seen.hydrogens, 9),
    )


def environment_name(number: int) -> str:
    """ "C sp3, 2 H": an environment in words."""
    element, rest = divmod(number, 100)
    hybridization, hydrogens = divmod(rest, 10)
    if element == 1:
        return "H"
    return f"{symbol(element)} {HYBRIDIZATIONS[hybridization]}, {hydrogens} H"
