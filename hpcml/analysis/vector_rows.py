"""What a network makes of each atom and molecule: vectors, in shards row for row with the data.

They are what ``Network.representation`` and ``molecule_representation`` give, the last hidden
features before the prediction, in the network's own scale.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from hpcml.errors import InputError
from hpcml.progress import progress
from hpcml.store import Dataset, Manifest, Shard, shards
from hpcml.store.rows import ranges

if TYPE_CHECKING:
    from hpcml.models import Network
    from hpcml.molecules import Molecule
    from hpcml.training import ModelInfo

Floats = NDArray[np.float32]
LevelName = Literal["atoms", "molecules"]
LEVELS: tuple[LevelName, ...] = ("atoms", "molecules")

_AT_ONCE = 64  # molecules of a batch
_BLOCK = 2048  # molecules whose vectors are read together


@dataclass(frozen=True)
class VectorRow:
    """One molecule of n atoms; NaN where the network cannot take it.

    atoms      (n, F)
    molecule   (G,)
    """

    atoms: Floats
    molecule: Floats


class VectorRows:
    """Vectors of a data set's rows, in its order; ``write_vectors`` makes them.

    model     name of the network
    widths    level -> length of its vectors
    """

    def __init__(self, folder: Path, dataset: Dataset) -> None:
        self.folder, self.dataset = folder, dataset
        self.offsets = dataset.atom_offsets
        self._places = dataset.places
        manifest = Manifest(folder)
        self._entries = []
        for info in dataset.shards:
            entry = manifest.entries.get(info.name)
            if entry is None or entry.attributes.get("source") != info.checksum:
                raise InputError(
                    f"{folder}: no vectors of shard {info.name} as it is now: "
                    "hpcml analyze --representations makes them"
                )
            self._entries.append(entry)
        if not self._entries or len({e.attributes.get("identity") for e in self._entries}) > 1:
            raise InputError(
                f"{folder}: no vectors, or of different networks: "
                "hpcml analyze --representations makes them anew"
            )
        self.model = str(self._entries[0].attributes["model"])
        self.widths = {level: self._entries[0].columns[level].shape[1] for level in LEVELS}

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> VectorRow:
        if not -len(self) <= index < len(self):
            raise IndexError(f"row {index} of {len(self)}")
        shard, row = (int(places[index]) for places in self._places)
        read = Shard(self.folder, self._entries[shard])
        atoms = slice(*read.view("atom_offsets")[row : row + 2].tolist())
        return VectorRow(np.array(read.view("atoms")[atoms]), np.array(read.view("molecules")[row]))

    def blocks(self, level: LevelName) -> Iterator[tuple[NDArray[np.int64], Floats]]:
        """All vectors of a level, block by block: which they are, and the vectors.

        Those of molecules that the network cannot take are left out.

        Yields
        ------
        places : (k,) integer array
            Numbers of atoms, or of rows, in the data set.
        vectors : (k, width) array
        """
        yield from self._read(level, np.arange(len(self)))

    def some(self, level: LevelName, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], Floats]:
        """The vectors of the atoms of some rows, or of the rows themselves.

        Parameters
        ----------
        level
        rows : (r,) integer array
            Ascending.

        Returns
        -------
        places : (k,) integer array
            As ``blocks`` has them.
        vectors : (k, width) array
        """
        found = list(self._read(level, rows))
        if not found:
            return np.empty(0, np.int64), np.empty((0, self.widths[level]), np.float32)
        places, vectors = zip(*found, strict=True)
        return np.concatenate(places), np.concatenate(vectors)

    def _read(
        self, level: LevelName, chosen: NDArray[np.int64]
    ) -> Iterator[tuple[NDArray[np.int64], Floats]]:
        shard, row = self._places
        for number, entry in enumerate(self._entries):
            mine = chosen[shard[chosen] == number]
            if not mine.size:
                continue
            read = Shard(self.folder, entry)  # its map goes with it: one file's pages at a time
            cuts = read.column("atom_offsets")
            values = read.view(level)
            for start in range(0, len(mine), _BLOCK):
                rows = mine[start : start + _BLOCK]
                places, where = rows, row[rows]
                if level == "atoms":
                    places, where = ranges(self.offsets, rows), ranges(cuts, row[rows])
                vectors = values[where]
                known = np.isfinite(vectors).all(axis=1)
                yield places[known], vectors[known]


def write_vectors(
    dataset: Dataset, model: Network, info: ModelInfo, destination: Path
) -> VectorRows:
    """Write the vectors of a data set into ``destination``, as far as they are not there.

    A shard is made again where its data or the network are no longer those it was made with.  A
    molecule that the network cannot take has NaN.

    Raises
    ------
    InputError
        For a network that learns no vectors, and where it can take none of the molecules.
    """
    if not model.learns_vectors:
        raise InputError(
            f"the network {info.model} has no representation to look into: its atoms' vectors are "
            "its own inputs; train one with hidden layers"
        )
    identity = _identity(model, info)
    written = Manifest(destination).entries
    widths = None
    with progress("vectors", len(dataset)) as advance:
        done = 0
        for shard in dataset.shards:
            entry = written.get(shard.name)
            about = {"source": shard.checksum, "identity": identity, "model": info.model}
            file = shards.shard_file(destination, shard.name)
            made = entry is not None and about.items() <= entry.attributes.items()
            if not made or not file.is_file() or file.stat().st_size != entry.bytes:  # type: ignore[union-attr]
                widths = widths or _widths(model, dataset)
                rows = dataset.shard(shard.name)
                atoms, molecules = network_vectors(model, rows.molecules, widths)
                columns = {
                    "key": rows.column("key"),
                    "atom_offsets": rows.atom_offsets,
                    "atoms": atoms,
                    "molecules": molecules,
                }
                shards.write(destination, shard.name, columns, about)
            done += shard.rows
            advance(done)
    return VectorRows(destination, dataset)


def network_vectors(
    model: Network, molecules: Sequence[Molecule], widths: tuple[int, int]
) -> tuple[Floats, Floats]:
    """Vectors of all atoms and of the molecules; NaN where the network cannot take a molecule.

    Parameters
    ----------
    model
    molecules
        M, with A atoms.
    widths
        F and G.

    Returns
    -------
    atoms : (A, F) array
    molecules : (M, G) array
    """
    of_atoms, of_molecules = [], []
    for start in range(0, len(molecules), _AT_ONCE):
        some = [molecules[row] for row in range(start, min(start + _AT_ONCE, len(molecules)))]
        for one in _batch(model, some, widths):
            of_atoms.append(one.atoms)
            of_molecules.append(one.molecule[None])
    return np.concatenate(of_atoms), np.concatenate(of_molecules)


def _batch(
    model: Network, molecules: Sequence[Molecule], widths: tuple[int, int]
) -> Iterator[VectorRow]:
    try:
        yield from _rows(model, molecules)
    except InputError:
        if len(molecules) > 1:
            half = len(molecules) // 2
            yield from _batch(model, molecules[:half], widths)
            yield from _batch(model, molecules[half:], widths)
            return
        yield VectorRow(
            np.full((len(molecules[0]), widths[0]), np.nan, np.float32),
            np.full(widths[1], np.nan, np.float32),
        )


def _rows(model: Network, molecules: Sequence[Molecule]) -> list[VectorRow]:
    import torch

    from hpcml.models import collate, example

    dtype = next(model.parameters()).dtype
    examples = [example(molecule, model.inputs) for molecule in molecules]
    batch = collate(examples, dtype)
    with torch.no_grad():
        atoms = model.representation(batch)
        whole = model.molecule_representation(atoms, batch).float().cpu().numpy()
    cuts = np.cumsum([len(molecule) for molecule in molecules])[:-1]
    parts = np.split(atoms.float().cpu().numpy(), cuts)
    return [VectorRow(*row) for row in zip(parts, whole, strict=True)]


def _widths(model: Network, dataset: Dataset) -> tuple[int, int]:
    """F and G, from the first molecule that the network can take."""
    reason = "there are none"
    for number, molecule in enumerate(dataset.molecules):
        try:
            (row,) = _rows(model, [molecule])
        except InputError as error:
            reason = str(error) if not number else reason
        else:
            return row.atoms.shape[1], row.molecule.shape[0]
    raise InputError(
        f"{dataset.folder}: the network can take none of {len(dataset)} molecules: {reason}"
    )


def _identity(model: Network, info: ModelInfo) -> str:
    """A hash of the network: its name, its sizes, its weights."""
    digest = hashlib.sha256(json.dumps([info.model, info.hyperparameters], default=str).encode())
    for name, values in model.state_dict().items():
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(values.detach().cpu().numpy()).tobytes())
    return digest.hexdigest()
