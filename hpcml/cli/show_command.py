"""The command that shows what is in a data set, or one of its molecules."""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hpcml.cli.command_words import Command, inside
from hpcml.exits import DONE
from hpcml.progress import tell

if TYPE_CHECKING:
    from hpcml.store import Dataset

_WIDTH_OF_A_FILE = 160
_NAMES = 5
_DIGITS = 7
_DIGITS_OF_ONE = 11


def commands() -> list[Command]:
    """The command of this file."""
    return [
        Command(
            name="show",
            help="what is in a data set, or all of one of its molecules",
            words=_words,
            run=_show,
        )
    ]


def _words(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "dataset", type=inside("dataset"), metavar="DATASET", help="its folder, or a run's"
    )
    parser.add_argument(
        "molecule",
        nargs="?",
        metavar="NAME",
        help="of a molecule; its SMILES, the first digits of its key, or a row number do as well",
    )
    parser.add_argument("--json", action="store_true", help="for programs")


def _show(options: argparse.Namespace) -> int:
    from hpcml.store import Dataset

    dataset = Dataset.open(options.dataset)
    if options.molecule is None:
        _show_dataset(dataset, as_json=options.json)
    else:
        _show_molecule(dataset, options.molecule, as_json=options.json)
    return DONE


# --- a data set ------------------------------------------------------------------------------


def _show_dataset(dataset: Dataset, *, as_json: bool) -> None:
    from hpcml.interface.contents import contents

    about = _about(dataset)
    columns = list(contents(dataset))
    if as_json:
        told = [
            {name: _null(value) for name, value in dataclasses.asdict(one).items()}
            for one in columns
        ]
        print(json.dumps({**about, "columns": told}, indent=1, allow_nan=False))
        return
    _print_rows(
        ["", ""],
        [[name.replace("_", " "), _in_words(value)] for name, value in about.items()],
        numbers=False,
    )
    print()
    _print_rows(
        ["column", "unit", "per", "numbers", "least", "median", "largest"],
        [
            [one.label, one.unit, one.per, _share(one.known, one.of),
             *map(_digits, (one.least, one.median, one.largest))]
            for one in columns
        ],
    )  # fmt: skip
    tell(
        f"show: {len(dataset):,} molecules in {dataset.folder}; "
        f"one of them: hpcml show {dataset.folder} NAME"
    )


def _about(dataset: Dataset) -> dict[str, Any]:
    """The head of the table: names, and plain values."""
    from hpcml.molecules import symbol
    from hpcml.training.levels import distinct_levels

    numbers = dataset.column("numbers")
    elements, counts = np.unique(numbers, return_counts=True)
    atoms = np.diff(dataset.atom_offsets)
    names = dataset[:_NAMES].texts("name")
    optional = "warnings" in dataset.optional_columns
    return {
        "folder": str(dataset.folder),
        "molecules": len(dataset),
        "names": names,
        "level": list(distinct_levels(dataset)),
        "atoms": len(numbers),
        "smallest_molecule": int(min(atoms, default=0)),
        "largest_molecule": int(max(atoms, default=0)),
        "elements": {symbol(int(z)): int(n) for z, n in zip(elements, counts, strict=True)},
        "frequencies_Eh": list(dataset.schema.frequencies),
        "processes": [list(process) for process in dataset.schema.processes],
        "warned": int(dataset.warned.sum()) if optional else 0,
        "shards": len(dataset.shards),
        "megabytes": round(sum(entry.bytes for entry in dataset.entries) / 1e6, 3),
    }


def _in_words(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {count:,}" for name, count in value.items())
    if isinstance(value, list):
        whole = [" ".join(map(_in_words, one)) if isinstance(one, list) else one for one in value]
        return ", ".join(_in_words(one) for one in whole)
    return f"{value:,}" if isinstance(value, int) else f"{value}"


def _share(known: int, of: int) -> str:
    return f"{known:,}" if known == of else f"{known:,} of {of:,}"


# --- a molecule ------------------------------------------------------------------------------


def _show_molecule(dataset: Dataset, wanted: str, *, as_json: bool) -> None:
    from hpcml.interface.contents import find, row_document

    found = find(dataset, wanted)
    row = dataset[found[0]]
    if as_json:
        print(json.dumps(row_document(row, dataset), indent=1, allow_nan=False))
        return
    molecule = row.molecule
    head = {"name": molecule.name, "formula": molecule.formula, "SMILES": molecule.smiles}
    head |= {"charge": str(molecule.charge), "multiplicity": str(molecule.multiplicity)}
    head |= {"row": str(found[0]), "key": row.key}
    head |= {"warning": "; ".join(row.provenance.get("warnings", []))}
    _print_rows(["", ""], [[name, text] for name, text in head.items() if text], numbers=False)
    shares = {
        name: np.asarray(value)
        for name, value in row.values.items()
        if dataset.schema.column(name).per == "atom"
    }
    units = [_short(dataset.unit(name)) for name in shares]
    print()
    _print_rows(
        ["atom", "", "x", "y", "z [angstrom]",
         *(f"{name} [{unit}]" if unit else name for name, unit in zip(shares, units, strict=True))],
        [
            [str(number + 1), symbol, *(f"{x:.6f}" for x in place),
             *(f"{float(values[number]):.6f}" for values in shares.values())]
            for number, (symbol, place) in enumerate(
                zip(molecule.symbols, molecule.positions, strict=True))
        ],
    )  # fmt: skip
    print()
    _print_rows(["column", "value", "unit"], list(_values(dataset, found[0])))
    if len(found) > 1:
        others = ", ".join(f"{n} ({dataset.keys[n][:8]})" for n in found[1 : _NAMES + 1])
        tell(f"show: {len(found)} rows are called so; the others: {others}")


def _values(dataset: Dataset, row: int) -> Iterable[list[str]]:
    """Every number that the row has, components of tensors in rows of three."""
    from hpcml.store.exports.table import number, scalars

    one = dataset.subset([row])
    for scalar in scalars(one):
        value = float(number(one.column(scalar.column), scalar)[0])
        if not math.isnan(value):
            yield [scalar.label, _digits(value, _DIGITS_OF_ONE), _short(scalar.unit)]
    for name in dataset.schema.columns:
        if dataset.schema.column(name).per == "list":
            values = np.atleast_1d(one.column(name))
            yield [name, " ".join(f"{value:.6g}" for value in values), _short(dataset.unit(name))]


# --- tables ----------------------------------------------------------------------------------


def _print_rows(
    heading: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: bool = True
) -> None:
    """A table in columns; what is a number stands to the right.  NO_COLOR is heeded."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    width = None if sys.stdout.isatty() else _WIDTH_OF_A_FILE
    table = Table(box=None, show_header=any(heading), pad_edge=False, header_style="bold")
    for place, name in enumerate(heading):
        right = numbers and any(_is_number(row[place]) for row in rows)
        table.add_column(Text(name), justify="right" if right else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    Console(width=width, highlight=False).print(table)


def _is_number(text: str) -> bool:
    try:
        float(text.replace(",", ""))
    except ValueError:
        return False
    return True


def _digits(value: float, digits: int = _DIGITS) -> str:
    return "" if math.isnan(value) else f"{value:.{digits}g}"


def _short(unit: str) -> str:
    """``atomic units (e^2 a0^2 Eh^-1 = a0^3)`` as ``a.u.``."""
    return "a.u." if unit.startswith("atomic units") else unit


def _null(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value
