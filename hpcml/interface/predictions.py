"""What a network says of molecules, and why: as tables, and drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hpcml.interface.tables import heading, html_table, to_pandas
from hpcml.molecules import Molecule

if TYPE_CHECKING:
    import pandas

_DRAWN = 20
Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Predicted:
    """Predictions for M molecules.

    values         target's label -> (M,) array, in the target's unit
    units          target's label -> unit
    warnings       for each molecule, why the network may be wrong about it
    """

    molecules: Sequence[Molecule]
    values: Mapping[str, Array]
    units: Mapping[str, str]
    warnings: Sequence[Sequence[str]]

    def __len__(self) -> int:
        return len(self.molecules)

    def to_pandas(self) -> pandas.DataFrame:
        """A row for each molecule, a column for each target, the unit in its heading."""
        return to_pandas(self._columns())

    def _columns(self) -> dict[str, list[object]]:
        columns: dict[str, list[object]] = {"name": [one.name for one in self.molecules]}
        for label, values in self.values.items():
            columns[heading(label, self.units[label])] = list(values.tolist())
        columns["warnings"] = ["; ".join(lines) for lines in self.warnings]
        return columns

    def __repr__(self) -> str:
        return f"Predicted({', '.join(self.values)} of {len(self)} molecules)"

    def _repr_html_(self) -> str:
        return html_table(self._columns())


@dataclass(frozen=True, eq=False)
class Explained:
    """Predictions for M molecules, taken apart over their atoms.

    target, unit    what was explained
    rule            by which rule
    prediction      (M,) array, in the unit
    atoms           for each molecule (n,) array: what each atom was worth, in the unit
    booked          for each molecule (n,) array: the same with what the atom's own biases and its
                    element's reference say
    cancellation    (M,) array: sum of |parts| / |sum|; large where an explanation mostly cancels
    """

    molecules: Sequence[Molecule]
    target: str
    unit: str
    rule: str
    prediction: Array
    atoms: Sequence[Array]
    booked: Sequence[Array]
    cancellation: Array

    def __len__(self) -> int:
        return len(self.molecules)

    def to_pandas(self) -> pandas.DataFrame:
        """A row for each atom: molecule, atom, element, relevance alone and with its own terms."""
        sizes = [len(one) for one in self.molecules]
        return to_pandas(
            {
                "molecule": np.repeat([one.name for one in self.molecules], sizes).tolist(),
                "atom": [atom for size in sizes for atom in range(size)],
                "element": [symbol for one in self.molecules for symbol in one.symbols],
                heading("relevance", self.unit): np.concatenate(self.atoms).tolist(),
                heading("with own terms", self.unit): np.concatenate(self.booked).tolist(),
            }
        )

    def drawing(self, index: int, *, own_terms: bool = False) -> str:
        """An SVG of one molecule, its atoms coloured by what they were worth."""
        from hpcml.report.drawings import molecule_drawing  # RDKit's drawing code, where drawn

        shown = self.booked if own_terms else self.atoms
        limit = max((float(np.abs(values).max()) for values in shown), default=1.0)
        return molecule_drawing(
            self.molecules[index], shown[index], limit, unit=self.unit, name=f"molecule{index}"
        )

    def __repr__(self) -> str:
        return f"Explained({self.target} of {len(self)} molecules by {self.rule})"

    def _repr_html_(self) -> str:
        first = range(min(len(self), _DRAWN))
        columns: dict[str, list[object]] = {
            "name": [self.molecules[row].name for row in first],
            heading(self.target, self.unit): [float(self.prediction[row]) for row in first],
            "cancellation": [float(self.cancellation[row]) for row in first],
        }
        return html_table(columns, [self.drawing(row) for row in first], rows=len(self))
