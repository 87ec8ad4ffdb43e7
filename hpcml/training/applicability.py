"""What a network has seen of molecules, and a word of warning where it is asked for others."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.spatial.distance import pdist

from hpcml.errors import InputError
from hpcml.molecules import Molecule, molecule_from_smiles, symbol
from hpcml.molecules.bonds import pieces
from hpcml.store import Dataset
from hpcml.training.model_file import ModelInfo

_MOST_LOOKED_AT = 500
"""Training molecules whose pieces are counted, evenly taken."""
_MOST_MADE_AGAIN = 5
"""Training molecules whose geometry is made anew from their SMILES."""
_MARGIN = 1.1
"""Distances may lie so far outside those of the training set before it is told."""


def describe_training(rows: Dataset) -> dict[str, Any]:
    """What ModelInfo says of the molecules it was trained on."""
    numbers = rows.column("numbers")
    cuts = rows.atom_offsets
    heavy = np.add.reduceat((numbers > 1).astype(np.int64), cuts[:-1])
    nearest, farthest = _extremes(rows)
    return {
        "elements": tuple(np.unique(numbers).tolist()),
        "heavy_atoms": int(heavy.max()),
        "charges": tuple(np.unique(rows.column("charge")).tolist()),
        "multiplicities": tuple(np.unique(rows.column("multiplicity")).tolist()),
        "nearest": nearest,
        "farthest": farthest,
        "pieces": max(pieces(rows.molecule(row)) for row in _evenly(len(rows), _MOST_LOOKED_AT)),
        "geometries_made": _geometries_are_made(rows),
        "train_rows": len(rows),
    }


def _extremes(rows: Dataset) -> tuple[float, float]:
    """The shortest and the longest distance of two atoms of a molecule; 0 where there is none."""
    cuts = rows.atom_offsets
    positions = np.split(rows.column("positions"), cuts[1:-1])
    ends = np.array([(d.min(), d.max()) for d in map(pdist, positions) if d.size])
    return (float(ends[:, 0].min()), float(ends[:, 1].max())) if len(ends) else (0.0, 0.0)


def _geometries_are_made(rows: Dataset) -> bool:
    """Whether RDKit's force field, which gives the same geometry each time, made the geometries.

    Looked up in a few molecules that have a SMILES; false where none has.
    """
    named = np.flatnonzero(np.diff(rows.offsets("smiles")))
    chosen = [rows.molecule(int(named[place])) for place in _evenly(len(named), _MOST_MADE_AGAIN)]

    def made(molecule: Molecule) -> bool:
        try:
            return molecule_from_smiles(molecule.smiles) == molecule
        except InputError:
            return False

    return bool(chosen) and all(map(made, chosen))


def _evenly(count: int, most: int) -> list[int]:
    """At most so many of the numbers 0 ... count - 1, both ends included."""
    places = np.linspace(0, count - 1, min(count, most)).round().astype(int)
    return [int(place) for place in places]


def applicability(
    info: ModelInfo, molecule: Molecule, level: str = "", *, geometry_made: bool = False
) -> list[str]:
    """Why the network may be wrong about this molecule: one line for each reason, none if none.

    level            of theory that the prediction is held against, where it is known
    geometry_made    the geometry comes from a SMILES by a force field
    """
    warnings = []
    unknown = sorted({int(z) for z in molecule.numbers} - set(info.elements))
    if unknown:
        names = ", ".join(symbol(z) for z in unknown)
        known = ", ".join(symbol(z) for z in info.elements)
        warnings.append(f"{names}: not among the elements of the training set ({known})")
    heavy = int((molecule.numbers > 1).sum())
    if heavy > info.heavy_atoms > 0:
        warnings.append(
            f"{heavy} heavy atoms: the largest training molecule has {info.heavy_atoms}"
        )
    if molecule.charge not in info.charges:
        warnings.append(f"charge {molecule.charge:+d}: not in the training set")
    if molecule.multiplicity not in info.multiplicities:
        warnings.append(f"multiplicity {molecule.multiplicity}: not in the training set")
    warnings += _of_geometry(info, molecule)
    if geometry_made and not info.geometries_made:
        warnings.append("geometry by a force field from the SMILES: the network has learned others")
    learned = [one.lower() for one in info.levels]  # programs spell 6-31G(D) as they like
    if level and learned and level.lower() not in learned:
        warnings.append(f"level {level}: the network has learned {info.level}")
    return warnings


def _of_geometry(info: ModelInfo, molecule: Molecule) -> list[str]:
    warnings = []
    parts = pieces(molecule)
    if parts > info.pieces:
        allowed = "one" if info.pieces == 1 else f"at most {info.pieces}"
        warnings.append(
            f"{parts} pieces with no bond between them: training molecules have {allowed}"
        )
    distances = pdist(molecule.positions)
    if not distances.size or not info.farthest:
        return warnings
    if distances.max() > _MARGIN * info.farthest:
        warnings.append(
            f"atoms {distances.max():.1f} angstrom apart: the widest training molecule has "
            f"{info.farthest:.1f}"
        )
    if distances.min() < info.nearest / _MARGIN:
        warnings.append(
            f"atoms {distances.min():.2f} angstrom apart: the nearest in training are "
            f"{info.nearest:.2f}"
        )
    return warnings
