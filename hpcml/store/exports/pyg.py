"""PyTorch Geometric: a list of ``Data``, one a molecule."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from hpcml.store.dataset import Dataset
from hpcml.store.exports.table import blocks, library, properties, whole_file


def to_pyg(dataset: Dataset) -> list[Any]:
    """The rows as ``torch_geometric.data.Data``.

    z (n,) atomic numbers, pos (n, 3) angstrom in float32, name, key, charge, multiplicity; each
    property under its column's name: per-atom ones (n,), the others with a first axis of length
    1, so that batching stacks them.  PlatformError if torch_geometric is not installed.
    """
    data = library("torch_geometric.data", "torch_geometric")
    return [data.Data.from_dict(record) for record in _records(dataset)]


def write_pyg(dataset: Dataset, destination: Path) -> None:
    """The list of ``to_pyg`` as a file of torch; to read it without executing anything:

    >>> from torch_geometric.data.data import Data, DataEdgeAttr, DataTensorAttr
    >>> from torch_geometric.data.storage import GlobalStorage
    >>> with torch.serialization.safe_globals(  # doctest: +SKIP
    ...     [Data, DataEdgeAttr, DataTensorAttr, GlobalStorage]
    ... ):
    ...     graphs = torch.load(path, weights_only=True)
    """
    graphs = to_pyg(dataset)
    torch = library("torch", "torch")
    with whole_file(destination) as temporary:
        torch.save(graphs, temporary)


def _records(dataset: Dataset) -> list[dict[str, Any]]:
    torch = library("torch", "torch")
    records = []
    for block in blocks(dataset, "pyg"):
        for row in block:
            molecule = row.molecule
            record: dict[str, Any] = {
                "z": torch.tensor(molecule.numbers),
                "pos": torch.tensor(molecule.positions.astype(np.float32)),
                "charge": molecule.charge,
                "multiplicity": molecule.multiplicity,
                "name": molecule.name,
                "smiles": molecule.smiles,
                "key": row.key,
            }
            for name in properties(dataset):
                value = row.values.get(name, np.array(np.nan))
                per_molecule = dataset.schema.column(name).per == "molecule"
                record[name] = torch.tensor(value[None] if per_molecule else value)
            records.append(record)
    return records
