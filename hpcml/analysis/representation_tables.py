"""``hpcml analyze --representations``: what a network tells apart, without being asked for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hpcml.analysis.analyze_stage import Table, write_table
from hpcml.analysis.chemical_labels import Labelled, atom_labels, molecule_labels
from hpcml.analysis.compression import compress
from hpcml.analysis.directions import (
    Association,
    Directions,
    Ends,
    associations,
    principal_directions,
)
from hpcml.analysis.first_network import first_network
from hpcml.analysis.perception import Perceived
from hpcml.analysis.probes import FOLDS, probes
from hpcml.analysis.vector_rows import LEVELS, LevelName, VectorRows, network_vectors, write_vectors
from hpcml.errors import InputError
from hpcml.files import make_folder, text_of_cell
from hpcml.store import Dataset

if TYPE_CHECKING:
    from hpcml.models import Network

DIRECTIONS = 8
"""How many leading directions are looked at."""
WIDTHS = (2, 8)
"""Of the autoencoder's middle, and as many of PCA's."""
LEAST_MOLECULES = 4 * FOLDS
"""Of fewer no half can be held out and cross-validated."""
_MOST_SAMPLED = {"atoms": 2000, "molecules": 10000}
"""Molecules whose vectors are compressed and probed, evenly taken: 36,000 of QM9's atoms."""
_DRAWN = 3
_TOLD_LABELS = 2
_TOLD_DIRECTIONS = 3


@dataclass(frozen=True)
class End:
    """A molecule at one end of a direction.

    direction   from 1
    side        "low" or "high"
    row         of the data set
    atom        the outermost atom of the molecule; None for a direction of molecules
    score       its coordinate, in standard deviations along the direction
    scores      (n,) of all atoms of the molecule; empty for a direction of molecules
    """

    direction: int
    side: str
    row: int
    atom: int | None
    score: float
    scores: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))


@dataclass(frozen=True)
class LevelAnalysis:
    """What is known of the vectors of atoms, or of molecules."""

    level: LevelName
    directions: Directions
    labels: Table
    probes: Table
    reconstruction: Table
    ends: tuple[End, ...]

    def lines(self) -> list[str]:
        """For the screen: the leading directions with what they carry, and the comparison."""
        told = [f"{self.level}: {self.directions.rows:,} vectors"]
        for number in range(1, 1 + min(_TOLD_DIRECTIONS, len(self.directions.share))):
            mine = [line for line in self.labels if line["direction"] == number]
            mine = [line for line in mine if float(str(line["r2"])) > 0]
            mine.sort(key=lambda line: -float(str(line["r2"])))
            carried = ", ".join(
                f"{line['label']} {float(str(line['r2'])):.2f}" for line in mine[:_TOLD_LABELS]
            )
            share = self.directions.share[number - 1]
            told.append(f"  direction {number} ({share:.0%} of the variance): {carried}")
        for line in self.reconstruction:
            told.append(
                f"  {line['method']} of width {line['width']}: "
                f"{float(str(line['held_out'])):.3f} of the held-out variance is lost"
            )
        return told


@dataclass(frozen=True)
class RepresentationAnalysis:
    """What is known of the vectors of a network."""

    model: str
    levels: tuple[LevelAnalysis, ...]
    dataset: Dataset

    def lines(self) -> list[str]:
        """For the screen."""
        return [
            f"{self.model}: which label explains how much of each direction (R2)",
            *(line for level in self.levels for line in level.lines()),
        ]


def analyze_representations(
    dataset: Dataset, model_folder: Path, vectors: Path
) -> RepresentationAnalysis:
    """Write the network's vectors of the data set, and look into them.

    Parameters
    ----------
    dataset
    model_folder
        Of a run, of an ensemble (its first member), or with the published files of an ANI.
    vectors
        The folder that the vectors are written into, as far as they are not there.

    Raises
    ------
    InputError
        Where there is no network, or one without a representation, or it can take fewer than 20
        of the molecules.
    """
    from hpcml.training import load_ensemble

    ensemble = load_ensemble(model_folder)
    model, info = ensemble.models[0], ensemble.info
    rows = write_vectors(dataset, model, info, vectors)
    perceived = Perceived(dataset.molecules, rows.offsets)
    usable = np.zeros(len(rows), dtype=bool)
    for places, _ in rows.blocks("molecules"):
        usable[places] = True
    usable &= perceived.known
    if usable.sum() < LEAST_MOLECULES:
        raise InputError(
            f"{dataset.folder}: {usable.sum()} molecules that the network and RDKit can take: "
            f"representations are looked into from {LEAST_MOLECULES} on"
        )
    first = first_network(model_folder, info)
    labelled = {
        "atoms": atom_labels(dataset, perceived),
        "molecules": molecule_labels(dataset, perceived, info.targets),
    }
    levels = [_level(rows, level, labelled[level], usable, first) for level in LEVELS]
    return RepresentationAnalysis(rows.model, tuple(levels), dataset)


def write_representations(found: RepresentationAnalysis, destination: Path) -> dict[str, Path]:
    """Write the tables, and say where each lies: name -> file.

    representation_directions.csv      a line for each leading direction: share of the variance
    representation_labels.csv          how much of each direction each label explains, alone and
                                       within elements, or within numbers of heavy atoms
    representation_probes.csv          what linear probes read off the vectors, those of the
                                       untrained network, and the narrow middles; with controls
    representation_reconstruction.csv  the autoencoder beside PCA of the same width
    representation_ends.csv            the molecules at both ends of each direction
    """
    tables: dict[str, Table] = {
        "representation_directions": [
            {
                "level": one.level,
                "vectors": one.directions.rows,
                "direction": number,
                "variance": float(share),
            }
            for one in found.levels
            for number, share in enumerate(one.directions.share[:DIRECTIONS], 1)
        ],
        "representation_labels": [line for one in found.levels for line in one.labels],
        "representation_probes": [line for one in found.levels for line in one.probes],
        "representation_reconstruction": [
            line for one in found.levels for line in one.reconstruction
        ],
        "representation_ends": [
            _told_end(found.dataset, one.level, end) for one in found.levels for end in one.ends
        ],
    }
    make_folder(destination)
    files = {name: destination / f"{name}.csv" for name in tables}
    for name, table in tables.items():
        write_table(files[name], table)
    return files


# ------------------------------------------------------------------------------ one level


def _level(
    rows: VectorRows,
    level: LevelName,
    labelled: Labelled,
    usable: NDArray[np.bool_],
    first: Network,
) -> LevelAnalysis:
    directions = principal_directions(rows.blocks(level))
    most = min(DIRECTIONS, int(np.isfinite(directions.scale).sum()))
    outermost = Ends(most, labelled.molecule, usable)
    held = associations(rows.blocks(level), directions, labelled, most, outermost)
    probed, reconstruction = _compressed(rows, level, labelled, usable, first)
    return LevelAnalysis(
        level,
        directions,
        _label_table(level, held, labelled.within),
        probed,
        reconstruction,
        tuple(_ends(rows, level, directions, outermost)),
    )


def _label_table(level: LevelName, held: Sequence[Association], within: str) -> Table:
    table: Table = []
    for one in held:
        alone, inside = one.explained()
        for number, (r2, r2_within) in enumerate(zip(alone, inside, strict=True), 1):
            if np.isfinite(r2):
                line = {"level": level, "direction": number, "label": one.label.name}
                table.append(
                    {**line, "r2": float(r2), "r2_within": float(r2_within), "within": within}
                )
    return table


def _compressed(
    rows: VectorRows,
    level: LevelName,
    labelled: Labelled,
    usable: NDArray[np.bool_],
    first: Network,
) -> tuple[Table, Table]:
    """The lines of probes, and of the reconstruction."""
    chosen = np.random.default_rng(0).permutation(np.flatnonzero(usable))[: _MOST_SAMPLED[level]]
    fit, held_out = (np.sort(half) for half in np.array_split(chosen, 2))
    _, known = _in_order(*rows.some(level, fit))
    places, vectors = _in_order(*rows.some(level, held_out))
    molecules = [rows.dataset.molecules[row] for row in held_out.tolist()]
    both = network_vectors(first, molecules, (rows.widths["atoms"], rows.widths["molecules"]))
    sets = {"network": vectors, "untrained network": both[LEVELS.index(level)].astype(np.float64)}
    reconstruction: Table = []
    for width in WIDTHS:
        if width >= np.linalg.matrix_rank(known - known.mean(axis=0)):
            continue  # nothing is lost
        for one in compress(known, vectors, width):
            sets[f"{one.method} of width {width}"] = one.codes
            line = {"level": level, "method": one.method, "width": width}
            counts = {"fitted_molecules": len(fit), "held_out_molecules": len(held_out)}
            reconstruction.append(
                {**line, **counts, "fitted": one.fitted, "held_out": one.held_out}
            )
    probed = [
        {"level": level, "vectors": name, "width": values.shape[1], **line}
        for name, values in sets.items()
        for line in probes(values, places, labelled)
    ]
    return probed, reconstruction


def _in_order(
    places: NDArray[np.int64], vectors: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    order = np.argsort(places)
    return places[order], vectors[order].astype(np.float64)


# ------------------------------------------------------------------------------ both ends


def _ends(
    rows: VectorRows, level: LevelName, directions: Directions, outermost: Ends
) -> Iterator[End]:
    for direction in range(outermost.directions):
        deviation = np.sqrt(directions.variance[direction])
        for end, side in enumerate(("low", "high")):
            for place, score in outermost.of(direction, end, _DRAWN):
                row = int(outermost.molecule[place])
                atom, scores = None, np.empty(0)
                if level == "atoms":
                    atom = place - int(rows.offsets[row])
                    along = directions.scores(rows[row].atoms, direction + 1)
                    scores = along[:, direction] / deviation
                yield End(direction + 1, side, row, atom, score / deviation, scores)


def _told_end(dataset: Dataset, level: LevelName, end: End) -> dict[str, object]:
    molecule = dataset.molecules[end.row]
    atom = None if end.atom is None else f"{molecule.symbols[end.atom]}{end.atom + 1}"
    return {
        "level": level,
        "direction": end.direction,
        "side": end.side,
        "score": end.score,
        "row": end.row,
        "key": dataset[end.row].key,
        "name": text_of_cell(molecule.name or molecule.formula),
        "smiles": text_of_cell(molecule.smiles),
        "atom": atom,
    }
