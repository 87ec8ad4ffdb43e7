"""reasons.csv: the reasons score by part of the split, element, ring and group, beside controls."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hpcml.analysis.perception import Perceived
from hpcml.analysis.reasons import molecule_of, reasons_score
from hpcml.analysis.untrained import untrained_relevance
from hpcml.molecules import symbol
from hpcml.molecules.groups import GROUPS
from hpcml.relevance.relevance_rows import RelevanceRows
from hpcml.store import Dataset
from hpcml.training.model_folder import PARTS, ModelFolder
from hpcml.training.splits import read_split

NETWORK = "network"
"""What is scored, where it is the relevances themselves and no control."""


@dataclass(frozen=True)
class _Selection:
    """Atoms (A,) whose reasons are scored, and molecules (M,) whose error stands beside."""

    of: str
    atoms: NDArray[np.bool_]
    molecules: NDArray[np.bool_]
    composition: str = "removed"


def reasons_table(
    dataset: Dataset,
    rows: RelevanceRows,
    share: NDArray[np.float64],
    perceived: Perceived,
    model_folder: Path,
) -> list[dict[str, object]]:
    """A score for each selection of atoms, on all rows and on each part of the split.

    Beside the network stands what it must beat, for all atoms: see ``controls``, and the same
    network with its first weights, where it lies in the model folder.

    Parameters
    ----------
    dataset
        With M molecules and A atoms.
    rows
        Its relevances.
    share : (A,) array
        What the physics assigns to each atom, target's unit; NaN where it is not known.
    perceived
        What RDKit sees in each molecule.
    model_folder
        Where the network's split lies.
    """
    numbers = dataset.column("numbers").astype(np.int64)
    molecule = molecule_of(rows.offsets)
    error = np.abs(rows.target.told(rows.prediction) - rows.target.values(dataset))
    everything = np.ones(len(dataset), dtype=bool)
    others = controls(numbers, share, perceived, rows.offsets)
    untrained = untrained_relevance(dataset, rows, model_folder)
    if untrained is not None:
        others["untrained network"] = untrained
    table: list[dict[str, object]] = []
    for part, in_part in {"all": everything, **_split(dataset, model_folder)}.items():
        for chosen in _selections(numbers, perceived, rows.offsets, in_part):
            atoms = chosen.atoms & in_part[molecule]
            kinds = numbers if chosen.composition == "removed" else None
            errors = error[chosen.molecules & in_part & np.isfinite(error)]
            scored = {NETWORK: rows.atoms, **(others if chosen.of == "all atoms" else {})}
            for what, values in scored.items():
                score = reasons_score(values, share, rows.offsets, kinds=kinds, counts=atoms)
                line = {"part": part, "of": chosen.of, "composition": chosen.composition}
                mae = float(errors.mean()) if what == NETWORK and len(errors) else np.nan
                table.append({**line, "scored": what, **asdict(score), "mae": mae})
    return table


def controls(
    numbers: NDArray[np.int64],
    share: NDArray[np.float64],
    perceived: Perceived,
    offsets: NDArray[np.int64],
) -> dict[str, NDArray[np.float64]]:
    """Values that know nothing, or only something simple, of the molecules at hand.

    Parameters
    ----------
    numbers : (A,) integer array
        Atomic numbers.
    share : (A,) array
        Shares, target's unit.
    perceived
        What RDKit sees in each of M molecules.
    offsets : (M + 1,) integer array
        Molecule m has the atoms offsets[m] to offsets[m + 1].

    Returns
    -------
    dict of (A,) array
        "random" normal deviates; "shuffled shares", within each molecule; "element means" of the
        shares; "hydrogens" bonded to the atom (NaN where bonds are not perceived).
    """
    random = np.random.default_rng(0)
    molecule = molecule_of(offsets)
    shuffled = share[np.lexsort((random.random(len(share)), molecule))]
    known = np.isfinite(share)
    _, kind = np.unique(numbers, return_inverse=True)
    with np.errstate(invalid="ignore"):
        means = np.bincount(kind[known], share[known], kind.max(initial=0) + 1) / np.bincount(
            kind[known], minlength=kind.max(initial=0) + 1
        )
    hydrogens = np.where(perceived.known[molecule], perceived.hydrogens, np.nan)
    return {
        "random": random.normal(size=len(numbers)),
        "shuffled shares": shuffled,
        "element means": means[kind],
        "hydrogens": hydrogens,
    }


def _selections(
    numbers: NDArray[np.int64],
    perceived: Perceived,
    offsets: NDArray[np.int64],
    in_part: NDArray[np.bool_],
) -> Iterator[_Selection]:
    """All atoms, each element, ring and chain, and molecules that hold each group."""
    molecule = molecule_of(offsets)
    anywhere, all_atoms = np.ones(len(perceived), dtype=bool), np.ones(len(numbers), dtype=bool)
    yield _Selection("all atoms", all_atoms, anywhere)
    yield _Selection("all atoms", all_atoms, anywhere, composition="kept")
    for z in np.unique(numbers[in_part[molecule]]).tolist():
        yield _Selection(f"element {symbol(z)}", numbers == z, anywhere)
    yield _Selection("ring atoms", perceived.in_ring, anywhere)
    yield _Selection("chain atoms", ~perceived.in_ring, anywhere)
    for name in GROUPS:
        holds = perceived.holds(name)
        if (holds & in_part).any():
            yield _Selection(f"molecules with {name}", holds[molecule], holds)


def _split(dataset: Dataset, model_folder: Path) -> dict[str, NDArray[np.bool_]]:
    """Part of the split -> which rows; nothing where the network has no split."""
    path = ModelFolder(model_folder).split
    if not path.exists():
        return {}
    split, keys = read_split(path), dataset.keys
    chosen = {part: np.isin(keys, np.array(split.part(part), "U32")) for part in PARTS}
    return {part: rows for part, rows in chosen.items() if rows.any()}
