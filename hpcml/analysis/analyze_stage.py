"""The stage ``analyze``: tables from a data set, its relevances, and the network's split."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem
from scipy.spatial.distance import pdist

from hpcml.analysis.groups import GROUPS, in_ring, occurrences
from hpcml.analysis.pairs import by_distance
from hpcml.analysis.reasons import molecule_of, reasons_score
from hpcml.errors import InputError
from hpcml.files import make_folder, write_whole
from hpcml.molecules import perceive, symbol
from hpcml.relevance.ledger import LEDGER, closure, relative_closure
from hpcml.relevance.relevance_rows import RelevanceRows, open_relevance
from hpcml.store import Dataset
from hpcml.training.model_folder import PARTS, ModelFolder
from hpcml.training.splits import read_split

Table = list[dict[str, object]]


def analyze(
    dataset: Dataset, relevance: Path | RelevanceRows, model_folder: Path, destination: Path
) -> dict[str, Path]:
    """Write the tables, and say where each lies: name -> file.

    relevance    the folder of the relevances, or the relevances themselves

    conservation.csv   what the predictions were taken apart into, and how well that adds up
    elements.csv       mean relevance of each element's atoms, and mean share where known
    groups.csv         the same for functional groups and rings, summed over a group's atoms
    distances.csv      mean relevance of pairs of atoms by distance, where pairs were kept
    reasons.csv        the reasons score (``hpcml.analysis.reasons``) and the error beside it, by
                       part of the split, element, ring and group; where the data set has shares
                       of the target

    All in the target's unit.  The same input gives the same bytes.
    """
    rows = relevance if isinstance(relevance, RelevanceRows) else open_relevance(relevance, dataset)
    share = _shares(dataset, rows)
    mols = _perceived(dataset)
    tables = {
        "conservation": conservation(rows.prediction, rows.atoms, rows.ledger, rows.offsets),
        "elements": element_averages(dataset.column("numbers"), rows.atoms, share),
        "groups": group_averages(mols, rows.offsets, rows.atoms, share),
    }
    if share is not None:
        tables["reasons"] = _reasons(dataset, rows, share, mols, model_folder)
    if rows.pairs != "none":
        tables["distances"] = by_distance(
            (pdist(molecule.positions), rows[row].pairs)
            for row, molecule in enumerate(dataset.molecules)
        )
    make_folder(Path(destination))
    for name in {"reasons", "distances"} - set(tables):  # of an earlier target, perhaps
        (Path(destination) / f"{name}.csv").unlink(missing_ok=True)
    files = {}
    for name, table in tables.items():
        files[name] = Path(destination) / f"{name}.csv"
        write_table(files[name], table)
    return files


# ---------------------------------------------------------------------------- the tables


def conservation(
    prediction: NDArray[np.float64],
    atoms: NDArray[np.float64],
    ledger: NDArray[np.float64],
    offsets: NDArray[np.int64],
) -> Table:
    """Each term of prediction = atoms + ledger over the molecules that could be explained."""
    explained = np.bincount(molecule_of(offsets), atoms, len(prediction)).astype(np.float64)
    known = np.isfinite(prediction)
    terms = {"prediction": prediction, "atoms": explained}
    terms.update(zip(LEDGER, ledger.T, strict=True))
    terms["closure"] = closure(prediction, explained, ledger)
    terms["closure / max(1, |prediction|)"] = relative_closure(prediction, explained, ledger)
    return [
        {
            "term": name,
            "molecules": int(known.sum()),
            "mean": _mean(values[known]),
            "mean_absolute": _mean(np.abs(values[known])),
            "largest_absolute": float(np.abs(values[known]).max(initial=0.0)),
        }
        for name, values in terms.items()
    ]


def element_averages(
    numbers: NDArray[np.uint8], relevance: NDArray[np.float64], share: NDArray[np.float64] | None
) -> Table:
    """Mean and standard deviation of each element's atoms."""
    return [
        {"element": symbol(int(z)), **_averages(relevance, share, numbers == z)}
        for z in np.unique(numbers)
    ]


def group_averages(
    mols: Sequence[Chem.Mol | None],
    offsets: NDArray[np.int64],
    relevance: NDArray[np.float64],
    share: NDArray[np.float64] | None,
) -> Table:
    """Mean and standard deviation of the sums over each group's atoms; groups that occur."""
    table: Table = []
    for name, smarts in GROUPS.items():
        found = [
            (number, offsets[number] + atoms)
            for number, mol in enumerate(mols)
            if mol is not None
            for atoms in occurrences(mol, smarts)
        ]
        if not found:
            continue
        summed = np.array([relevance[atoms].sum() for _, atoms in found])
        shares = None if share is None else np.array([share[atoms].sum() for _, atoms in found])
        molecules = len({number for number, _ in found})
        line = _averages(summed, shares, np.ones(len(found), dtype=bool))
        table.append({"group": name, "smarts": smarts, "molecules": molecules, **line})
    return table


def _averages(
    relevance: NDArray[np.float64], share: NDArray[np.float64] | None, chosen: NDArray[np.bool_]
) -> dict[str, object]:
    values = relevance[chosen]
    values = values[np.isfinite(values)]
    line: dict[str, object] = {
        "count": len(values),
        "relevance_mean": _mean(values),
        "relevance_std": float(values.std()) if len(values) else np.nan,
    }
    if share is not None:
        shares = share[chosen][np.isfinite(share[chosen])]
        line["share_mean"] = _mean(shares)
        line["share_std"] = float(shares.std()) if len(shares) else np.nan
    return line


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean()) if len(values) else np.nan


@dataclass(frozen=True)
class _Selection:
    """Atoms (A,) whose reasons are scored, and molecules (M,) whose error stands beside."""

    of: str
    atoms: NDArray[np.bool_]
    molecules: NDArray[np.bool_]
    composition: str = "removed"


def _reasons(
    dataset: Dataset,
    rows: RelevanceRows,
    share: NDArray[np.float64],
    mols: Sequence[Chem.Mol | None],
    model_folder: Path,
) -> Table:
    """A score for each selection, on all rows and on each part of the split."""
    numbers = dataset.column("numbers").astype(np.int64)
    molecule = molecule_of(rows.offsets)
    error = np.abs(rows.prediction - rows.target.values(dataset))
    everything = np.ones(len(dataset), dtype=bool)
    table: Table = []
    for part, in_part in {"all": everything, **_split(dataset, model_folder)}.items():
        for chosen in _selections(numbers, mols, rows.offsets, in_part):
            atoms = chosen.atoms & in_part[molecule]
            kinds = numbers if chosen.composition == "removed" else None
            score = reasons_score(rows.atoms, share, rows.offsets, kinds=kinds, counts=atoms)
            errors = error[chosen.molecules & in_part & np.isfinite(error)]
            table.append(
                {
                    "part": part,
                    "of": chosen.of,
                    "composition": chosen.composition,
                    **asdict(score),
                    "mae": _mean(errors),
                }
            )
    return table


def _selections(
    numbers: NDArray[np.int64],
    mols: Sequence[Chem.Mol | None],
    offsets: NDArray[np.int64],
    in_part: NDArray[np.bool_],
) -> Iterator[_Selection]:
    """All atoms, each element, ring and chain, and molecules that hold each group."""
    molecule = molecule_of(offsets)
    anywhere, all_atoms = np.ones(len(mols), dtype=bool), np.ones(len(numbers), dtype=bool)
    yield _Selection("all atoms", all_atoms, anywhere)
    yield _Selection("all atoms", all_atoms, anywhere, composition="kept")
    for z in np.unique(numbers[in_part[molecule]]).tolist():
        yield _Selection(f"element {symbol(z)}", numbers == z, anywhere)
    ring = np.zeros(len(numbers), dtype=bool)
    for mol, start, stop in zip(mols, offsets[:-1], offsets[1:], strict=True):
        if mol is not None:
            ring[start:stop] = in_ring(mol)
    yield _Selection("ring atoms", ring, anywhere)
    yield _Selection("chain atoms", ~ring, anywhere)
    for name, smarts in GROUPS.items():
        holds = np.array([m is not None and bool(occurrences(m, smarts)) for m in mols])
        if (holds & in_part).any():
            yield _Selection(f"molecules with {name}", holds[molecule], holds)


# ------------------------------------------------------------------- what the tables need


def _shares(dataset: Dataset, rows: RelevanceRows) -> NDArray[np.float64] | None:
    """(A,) the physics' share of the target of each atom, where the data set has it."""
    name = f"share_{rows.target.name}"
    if not rows.target.is_static or name not in dataset.columns:
        return None
    values = dataset.column(name)
    return values if np.isfinite(values).any() else None


def _split(dataset: Dataset, model_folder: Path) -> dict[str, NDArray[np.bool_]]:
    """Part of the split -> which rows; nothing where the network has no split."""
    path = ModelFolder(model_folder).split
    if not path.exists():
        return {}
    split, keys = read_split(path), dataset.keys
    chosen = {part: np.isin(keys, np.array(split.part(part), "U32")) for part in PARTS}
    return {part: rows for part, rows in chosen.items() if rows.any()}


def _perceived(dataset: Dataset) -> list[Chem.Mol | None]:
    """RDKit's view of each molecule; None where bonds cannot be perceived."""
    mols: list[Chem.Mol | None] = []
    for molecule in dataset.molecules:
        try:
            mols.append(perceive(molecule))
        except InputError:
            mols.append(None)
    return mols


def write_table(path: Path, table: Sequence[Mapping[str, object]]) -> None:
    """A CSV file with a heading; numbers with as many digits as they have."""
    text = io.StringIO()
    if table:
        writer = csv.DictWriter(text, fieldnames=list(table[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(table)
    write_whole(path, text.getvalue().encode())
