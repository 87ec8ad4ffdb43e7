"""``dataset.h5``: all shards as one file, for people with h5py or HDFView.

An HDF5 virtual data set: it holds no values but says in which shard they are.  When the HDF5
library cannot open a shard (missing, moved, or more files than the process may open) it gives
the fill value without a word.  Therefore the view is made over few shards only, its fill values
are NaN, -1 or 255 and never a plausible zero, and hpcml itself never reads it.
"""

from __future__ import annotations

import os
import resource
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from hpcml.errors import InputError, ResourceError
from hpcml.files import write_whole
from hpcml.store.dataset import Dataset
from hpcml.store.reader import offset_columns
from hpcml.store.schema import SCHEMA_VERSION
from hpcml.store.shards import FOLDER, Shard

MOST_SHARDS = 400
"""Half of what a process may usually open (1024), less what it has open besides."""


def write_virtual(path: Path | str) -> Path:
    """Write (or renew) ``dataset.h5`` in a data set's folder; its path.

    The columns are those of the shards; offsets are over the whole data set.  The root attribute
    ``fingerprint`` tells which state of the data set is seen; the file is to be renewed when the
    data set grows.

    Raises ResourceError over more shards than can safely be open at once, InputError if a key
    comes twice; ``hpcml compact`` mends both.
    """
    folder = Path(path)
    dataset = Dataset.open(folder)
    count = len(dataset.shards)
    limit = min(MOST_SHARDS, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2)
    if count > limit:
        raise ResourceError(
            f"{folder}: {count} shards are more than the {limit} that a program may safely have "
            f"open; run `hpcml compact {folder}` first"
        )
    if len(dataset) != sum(shard.rows for shard in dataset.shards):
        raise InputError(f"{folder}: some keys come twice; run `hpcml compact {folder}` first")
    destination = folder / "dataset.h5"
    write_whole(destination, _image(dataset))
    return destination


def _image(dataset: Dataset) -> bytes:
    with h5py.File("view", "w", driver="core", backing_store=False, libver="v110") as file:
        file.attrs["hpcml_schema_version"] = SCHEMA_VERSION
        file.attrs["schema"] = dataset.schema.to_json()
        file.attrs["fingerprint"] = dataset.fingerprint
        file.attrs["warning"] = (
            "A view of the files in shards/. Where HDF5 cannot open one of them it shows NaN, -1 "
            "or 255 without an error."
        )
        shards = [Shard(dataset.folder, entry) for entry in dataset.entries]
        for name in dataset.columns:
            if name in dataset.optional_columns:  # which not every shard has
                file[name] = dataset.column(name)
                continue
            extents = [shard.extent(name) for shard in shards]
            total = sum(extent.shape[0] for extent in extents)
            dtype = np.dtype(dataset.schema.column(name).dtype)
            tail = extents[0].shape[1:] if extents else ()
            layout = h5py.VirtualLayout((total, *tail), dtype)
            start = 0
            for shard, extent in zip(shards, extents, strict=True):
                if extent.shape[0]:
                    stop = start + extent.shape[0]
                    source = os.path.join(FOLDER, shard.path.name)  # noqa: PTH118
                    layout[start:stop] = h5py.VirtualSource(source, name, extent.shape, dtype)
                    start = stop
            made = file.create_virtual_dataset(name, layout, fillvalue=_fill(dtype))
            made.attrs["unit"] = dataset.schema.column(name).unit
            made.attrs["description"] = dataset.schema.column(name).description
        for cuts in offset_columns(dataset.schema):
            name = "numbers" if cuts == "atom_offsets" else cuts.removesuffix("_offsets")
            file[cuts] = dataset.offsets(name)
        if "warnings" in dataset.optional_columns:
            file["warnings_offsets"] = dataset.offsets("warnings")
        file.flush()
        image: bytes = file.id.get_file_image()
        return image


def _fill(dtype: np.dtype[Any]) -> Any:
    return np.nan if dtype.kind == "f" else np.iinfo(dtype).max if dtype.kind == "u" else -1
