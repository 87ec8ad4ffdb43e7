"""A data set as a notebook sees it: filtered by molecule, as a table, with its molecules drawn."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from hpcml.errors import InputError
from hpcml.interface.tables import heading, html_table, to_pandas
from hpcml.molecules import Molecule
from hpcml.store import Dataset
from hpcml.store.exports.table import number, scalars

if TYPE_CHECKING:
    import pandas
    from typing_extensions import Self

_DRAWN = 20


class OpenedDataset(Dataset):
    """A ``Dataset`` that shows itself as a table.

    >>> import hpcml
    >>> data = hpcml.open("jobs/study/small")
    >>> with_oxygen = data.filter(lambda molecule: 8 in molecule.numbers)
    >>> all("O" in molecule.formula for molecule in with_oxygen[:5].molecules)
    True
    >>> list(data[:2].to_pandas().columns)[:3]
    ['name', 'smiles', 'formula']
    """

    def filter(self, wanted: Callable[[Molecule], bool]) -> Self:
        """The rows whose molecule is wanted; for a condition on columns give ``subset`` a mask."""
        return self.subset(np.array([wanted(one) for one in self.molecules], dtype=bool))

    def to_pandas(self) -> pandas.DataFrame:
        """A row for each molecule, a column for each number that every row has.

        Headings name column, point on its axes, Cartesian component and unit, as ``hpcml export
        --to csv`` does; what belongs to atoms or lists has no place in it.
        """
        return to_pandas(self._table())

    def _table(self) -> dict[str, list[Any]]:
        columns: dict[str, list[Any]] = {
            "name": self.texts("name"),
            "smiles": self.texts("smiles"),
            "formula": [molecule.formula for molecule in self.molecules],
        }
        wanted = scalars(self)
        arrays = {name: self.column(name) for name in {one.column for one in wanted}}
        for one in wanted:
            columns[heading(one.label, one.unit)] = number(arrays[one.column], one).tolist()
        return columns

    def _repr_html_(self) -> str:
        from hpcml.report.drawings import molecule_drawing  # RDKit's drawing code, where drawn

        first = self[:_DRAWN]
        columns = {
            name: values
            for name, values in first._table().items()
            if name in ("name", "smiles") or ":" not in name  # no components of tensors
        }
        drawings = []
        for row, molecule in enumerate(first.molecules):
            try:
                blank = np.zeros(len(molecule))
                drawings.append(
                    molecule_drawing(molecule, blank, 1.0, unit="", name=f"row{row}", width=150)
                )
            except InputError:  # bonds that cannot be perceived
                drawings.append("")
        return f"<p>{self!r}</p>" + html_table(columns, drawings, rows=len(self))
