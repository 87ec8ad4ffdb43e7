"""What ``hpcml compute`` prints and writes, molecule by molecule."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcml.cli.output_files import check_output, write_output
from hpcml.files import storage_error

if TYPE_CHECKING:
    from hpcml.interface.computing import Computed
    from hpcml.response.unit_systems import UnitSystem

LINES = ".jsonl"
"""Ending of a file that gets a document a line, each as soon as it is there."""
_SCREEN = Path("-")
_LONGEST_NAME = 32


class Output:
    """Takes one molecule after another.

    json       a file for the documents, with the ending .jsonl one a line; ``-``: lines to the
               screen instead of tables; None: no documents
    several    a row for each molecule, unless its tensors are wanted
    """

    def __init__(
        self,
        json: Path | None,
        units: UnitSystem,
        *,
        several: bool,
        tensors: bool,
        names: int,
    ) -> None:
        self._json = json
        self._units = units
        self._several = several
        self._rows = several and not tensors
        self._width = min(_LONGEST_NAME, max(names, len("name")))
        self._taken = 0
        self._documents: list[dict[str, Any]] = []
        if json is not None and json != _SCREEN:
            check_output(json)
            if json.suffix == LINES:
                write_output(json, "")

    @property
    def where(self) -> str:
        """The file of the documents; "" where there is none."""
        return "" if self._json in (None, _SCREEN) else str(self._json)

    def take(self, computed: Computed) -> None:
        """Show a molecule, and write it where files are written line by line."""
        from hpcml.response.property_table import property_table

        self._taken += 1
        if self._json is not None:
            self._write(document(computed, self._units))
        if self._json == _SCREEN:
            return
        molecule = computed.molecule
        if self._rows:
            self._show_row(computed)
            return
        if self._several:
            print(f"{chr(10) if self._taken > 1 else ''}== {molecule.name}")
        print(property_table(computed.properties, molecule.symbols, self._units), flush=True)

    def close(self) -> None:
        """Write the file that is written as a whole."""
        if self._documents and self._json is not None:
            content = self._documents if self._several else self._documents[0]
            write_output(self._json, json.dumps(content, indent=1, allow_nan=False) + "\n")

    def _write(self, told: dict[str, Any]) -> None:
        line = json.dumps(told, allow_nan=False)
        if self._json == _SCREEN:
            print(line, flush=True)
        elif self._json is not None and self._json.suffix == LINES:
            try:
                with self._json.open("a", encoding="utf-8", errors="backslashreplace") as file:
                    file.write(line + "\n")
            except OSError as error:
                raise storage_error(error, f"cannot write {self._json}") from error
        else:
            self._documents.append(told)

    def _show_row(self, computed: Computed) -> None:
        """The numbers that do not depend on the frame, below their names and units."""
        scalars = computed.scalars(self._units)
        widths = [max(14, len(name), len(unit)) for name, (_, unit) in scalars.items()]
        if self._taken == 1:
            heads = zip(scalars, widths, strict=True)
            print(" ".join(["name".ljust(self._width), *(h.rjust(w) for h, w in heads)]))
            heads = zip((unit for _, unit in scalars.values()), widths, strict=True)
            print(" ".join([" " * self._width, *(h.rjust(w) for h, w in heads)]))
        cells = (
            _cell(value, small=self._units.of(name)[0] < 1e-9).rjust(width)
            for (name, (value, _)), width in zip(scalars.items(), widths, strict=True)
        )
        name = computed.molecule.name[: self._width]
        print(" ".join([name.ljust(self._width), *cells]), flush=True)
        for warning in computed.properties.provenance.get("warnings", []):
            print(f"warning: {computed.molecule.name}: {warning}", file=sys.stderr)


def _cell(value: float, *, small: bool) -> str:
    if math.isnan(value):
        return "-"
    return f"{value:.6e}" if small else f"{value:.6f}"


def document(computed: Computed, system: UnitSystem) -> dict[str, Any]:
    """What ``compute --json`` writes of a molecule: what it is, its properties, their units."""
    from hpcml.response.unit_systems import in_units

    molecule, properties = computed.molecule, computed.properties
    return {
        "name": molecule.name,
        "smiles": molecule.smiles,
        "charge": molecule.charge,
        "multiplicity": molecule.multiplicity,
        "symbols": molecule.symbols,
        "isotopes": molecule.isotopes.tolist(),
        # Where the geometry was optimized, the properties are those of the minimum.
        "geometry": molecule.positions.tolist(),
        **in_units(properties.to_json(), system),
        "units": {
            "geometry": "angstrom",
            "energy": "Eh",
            "dipole": system.dipole[1],
            "frequency": "Eh",
            "polarizability": system.polarizability[1],
            "hyperpolarizability": f"{system.hyperpolarizability[1]}, Taylor convention",
            "second_hyperpolarizability": (
                f"{system.second_hyperpolarizability[1]}, Taylor convention"
            ),
            "zpve": "Eh",
            "frequencies": "cm^-1",
            "shares": "of the property",
        },
    }
