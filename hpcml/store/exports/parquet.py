"""Parquet: typed columns with their units in the schema's metadata."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hpcml.store.dataset import Dataset
from hpcml.store.exports.table import blocks, library, number, ragged, scalars, whole_file
from hpcml.store.schema import CATALOGUE, SCHEMA_VERSION, Column


def write_parquet(dataset: Dataset, destination: Path) -> None:
    """One column for each number, labelled as in the CSV but without the unit, which is in the
    field's metadata; lists for atoms (positions: three numbers an atom, flat) and ragged columns.
    """
    arrow = library("pyarrow", "pyarrow")
    parquet = library("pyarrow.parquet", "pyarrow")
    texts = ["name", "smiles", "provenance"]
    if "warnings" in dataset.optional_columns:
        texts.append("warnings")
    fields = [
        *(arrow.field(name, arrow.string()) for name in ("key", *texts)),
        *(arrow.field(name, arrow.int32()) for name in ("charge", "multiplicity")),
        _field(arrow, CATALOGUE["numbers"], arrow.list_(arrow.uint8())),
        _field(arrow, CATALOGUE["positions"], arrow.list_(arrow.float64())),
    ]
    numbers = scalars(dataset)
    column = dataset.schema.column
    fields += [_field(arrow, column(s.column), arrow.float64(), s.label) for s in numbers]
    lists = ragged(dataset.schema)
    fields += [_field(arrow, column(name), arrow.list_(arrow.float64())) for name in lists]
    metadata = {"hpcml_schema_version": str(SCHEMA_VERSION), "schema": dataset.schema.to_json()}
    schema = arrow.schema(fields, metadata=metadata)
    with (
        whole_file(destination) as temporary,
        parquet.ParquetWriter(str(temporary), schema) as writer,
    ):
        for block in blocks(dataset, "parquet"):
            cuts = block.atom_offsets
            columns: list[Any] = [
                arrow.array(block.keys.tolist()),
                *(arrow.array(block.texts(name)) for name in texts),
                arrow.array(block.column("charge")),
                arrow.array(block.column("multiplicity")),
                _lists(arrow, cuts, block.column("numbers")),
                _lists(arrow, 3 * cuts, block.column("positions").reshape(-1)),
            ]
            arrays = {name: block.column(name) for name in {s.column for s in numbers}}
            columns += [arrow.array(number(arrays[s.column], s)) for s in numbers]
            columns += [_lists(arrow, block.offsets(name), block.column(name)) for name in lists]
            writer.write_batch(arrow.record_batch(columns, schema=schema))


def _field(arrow: Any, column: Column, kind: Any, label: str = "") -> Any:
    metadata = {"unit": column.unit, "description": column.description}
    return arrow.field(label or column.name, kind, metadata=metadata)


def _lists(arrow: Any, cuts: Any, values: Any) -> Any:
    return arrow.ListArray.from_arrays(arrow.array(cuts.astype("int32")), arrow.array(values))
