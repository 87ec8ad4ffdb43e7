"""Extended XYZ: one frame a row, read by ASE, OVITO and hpcml itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcml.molecules import symbol
from hpcml.store.dataset import Dataset
from hpcml.store.exports.table import blocks, properties, ragged, whole_file
from hpcml.store.schema import Schema


def write_extxyz(dataset: Dataset, destination: Path) -> None:
    """Positions in angstrom; every property under its column's name and ``_au`` where it is in
    atomic units, so that no reader takes it for the eV of its own convention.

    Tensors are flat in C order, with their frequency or process axis first.  Per-atom columns
    stand behind the positions.  A value that is NaN throughout is left out.
    """
    per_atom = [n for n in ragged(dataset.schema) if dataset.schema.column(n).per == "atom"]
    others = [name for name in properties(dataset) if name not in per_atom]
    isotopes = "isotopes" in dataset.columns
    heading = ":".join(
        ["species:S:1:pos:R:3", *(f"{label(dataset.schema, n)}:R:1" for n in per_atom)]
        + (["isotopes:I:1"] if isotopes else [])
    )
    with whole_file(destination) as temporary, temporary.open("w", encoding="utf-8") as file:
        for block in blocks(dataset, "extxyz"):
            cuts = block.atom_offsets
            species = np.array([symbol(n) if n else "X" for n in range(119)])
            names = species[block.column("numbers")]
            atoms = [block.column("positions"), *(block.column(n)[:, None] for n in per_atom)]
            numbers = np.concatenate(atoms, axis=1)
            tails = [f" {n}" for n in block.column("isotopes")] if isotopes else [""] * cuts[-1]
            frames = _Frames(block, others)
            for i in range(len(block)):
                rows = range(cuts[i], cuts[i + 1])
                file.write(f"{len(rows)}\nProperties={heading} {frames.comment(i)}\n")
                file.writelines(
                    f"{names[r]:<2} {' '.join(map(repr, numbers[r].tolist()))}{tails[r]}\n"
                    for r in rows
                )


def label(schema: Schema, name: str) -> str:
    """The column's name, with ``_au`` if its unit is made of Eh, e and a0."""
    words = set(schema.column(name).unit.replace("(", " ").replace(")", " ").split())
    return f"{name}_au" if words & {"Eh", "a0", "a0^2", "a0^3", "Eh^-2"} else name


class _Frames:
    """The comment lines of a block of rows."""

    def __init__(self, block: Dataset, columns: list[str]) -> None:
        self.texts = {name: block.texts(name) for name in ("name", "smiles", "warnings")}
        self.numbers = {name: block.column(name) for name in ("charge", "multiplicity")}
        self.keys = block.keys.tolist()
        self.columns = {name: block.column(name) for name in columns}
        schema = block.schema
        self.labels = {name: label(schema, name) for name in columns}
        lists = [name for name in columns if schema.column(name).per == "list"]
        self.cuts = {name: block.offsets(name) for name in lists}

    def comment(self, i: int) -> str:
        pairs = [f"{name}={_quoted(texts[i])}" for name, texts in self.texts.items() if texts[i]]
        pairs += [f"{name}={int(values[i])}" for name, values in self.numbers.items()]
        # The letter keeps a reader from taking 32 digits for a number.
        pairs.append(f"key=k{self.keys[i]}")
        for name, values in self.columns.items():
            cuts = self.cuts.get(name)
            value = values[i] if cuts is None else values[cuts[i] : cuts[i + 1]]
            if value.size and not np.isnan(value).all():
                pairs.append(f"{self.labels[name]}={_numbers(value)}")
        return " ".join(pairs)


def _numbers(value: NDArray[Any]) -> str:
    flat = [repr(number) for number in np.ravel(value).tolist()]
    return flat[0] if np.ndim(value) == 0 else f'"{" ".join(flat)}"'


def _quoted(text: str) -> str:
    printable = "".join(c if c.isprintable() else " " for c in text)
    return '"' + printable.replace("\\", "\\\\").replace('"', '\\"') + '"'
