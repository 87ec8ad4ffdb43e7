"""The stage ``analyze``: tables from a data set, its relevances, and the network's split."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import pdist

from hpcml.analysis.analyze_settings import AnalyzeSettings
from hpcml.analysis.atom_traits import AtomTraits
from hpcml.analysis.matched_pairs import pairs_tables
from hpcml.analysis.pairs import by_distance
from hpcml.analysis.perception import Perceived
from hpcml.analysis.reasons import molecule_of
from hpcml.analysis.reasons_table import reasons_tables, split_parts
from hpcml.files import make_folder, write_whole
from hpcml.molecules import symbol
from hpcml.molecules.groups import GROUPS
from hpcml.progress import progress
from hpcml.relevance.ledger import LEDGER, cancellation, closure, relative_closure
from hpcml.relevance.relevance_rows import RelevanceRows, open_relevance
from hpcml.store import Dataset

Table = list[dict[str, object]]

_SOMETIMES = {"reasons", "reasons_differences", "pairs_matched", "pairs_summary", "distances"}
CANCELLATION = "sum of |parts| / |sum|"
"""Row of conservation.csv: how much of what an explanation hands out cancels."""


def analyze(
    dataset: Dataset,
    relevance: Path | RelevanceRows,
    model_folder: Path,
    destination: Path,
    settings: AnalyzeSettings | None = None,
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
    reasons_differences.csv   by how much the network's score by rank is above each control's
    pairs_matched.csv  pairs of molecules that differ in one group: change of the property, of the
                       prediction, of relevance and share on what changed and on what stays
    pairs_summary.csv  how far these changes agree

    All in the target's unit.  The same input gives the same bytes.
    """
    rows = relevance if isinstance(relevance, RelevanceRows) else open_relevance(relevance, dataset)
    share = _shares(dataset, rows)
    settings = settings or AnalyzeSettings()
    with progress("perceive", len(dataset)) as advance:
        perceived = Perceived(dataset.molecules, rows.offsets, advance)
    with progress("analyze", 4) as advance:
        advance(0, "averages")
        tables = {
            "conservation": conservation(rows.prediction, rows.atoms, rows.ledger, rows.offsets),
            "elements": element_averages(dataset.column("numbers"), rows.atoms, share),
            "groups": group_averages(perceived, rows.atoms, share),
        }
        if share is not None:
            advance(1, "reasons score")
            traits = AtomTraits(dataset.column("numbers").astype(np.int64), perceived)
            tables["reasons"], tables["reasons_differences"] = reasons_tables(
                dataset, rows, share, traits, model_folder=model_folder, settings=settings
            )
        if settings.matched_pairs:
            advance(2, "matched pairs")
            parts = split_parts(dataset, model_folder)
            found, agreement = pairs_tables(rows, share, perceived, parts, settings.matched_pairs)
            if found:
                tables["pairs_matched"], tables["pairs_summary"] = found, agreement
        if rows.pairs != "none":
            advance(3, "pairs of atoms")
            tables["distances"] = by_distance(
                (pdist(molecule.positions), rows[row].pairs)
                for row, molecule in enumerate(dataset.molecules)
            )
        advance(4)
    make_folder(Path(destination))
    for name in _SOMETIMES - set(tables):  # of an earlier target, perhaps
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
    """Each term of prediction = atoms + ledger over the molecules that could be explained.

    Parameters
    ----------
    prediction : (M,) array
        Target's unit; NaN where a molecule could not be explained.
    atoms : (A,) array
        Relevances, target's unit.
    ledger : (M, terms) array
        Target's unit.
    offsets : (M + 1,) integer array
        Molecule m has the atoms offsets[m] to offsets[m + 1].
    """
    explained = np.bincount(molecule_of(offsets), atoms, len(prediction)).astype(np.float64)
    known = np.isfinite(prediction)
    terms = {"prediction": prediction, "atoms": explained}
    terms.update(zip(LEDGER, ledger.T, strict=True))
    terms["closure"] = closure(prediction, explained, ledger)
    terms["closure / max(1, |prediction|)"] = relative_closure(prediction, explained, ledger)
    terms[CANCELLATION] = cancellation(atoms, ledger, offsets)
    return [
        {
            "term": name,
            "molecules": int(known.sum()),
            "mean": _mean(values[known]),
            "median": float(np.median(values[known])) if known.any() else np.nan,
            "mean_absolute": _mean(np.abs(values[known])),
            "largest_absolute": float(np.abs(values[known]).max(initial=0.0)),
        }
        for name, values in terms.items()
    ]


def element_averages(
    numbers: NDArray[np.uint8], relevance: NDArray[np.float64], share: NDArray[np.float64] | None
) -> Table:
    """Mean and standard deviation of each element's atoms.

    Parameters
    ----------
    numbers : (A,) integer array
        Atomic numbers.
    relevance, share : (A,) array
        Target's unit; no share is None.
    """
    return [
        {"element": symbol(int(z)), **_averages(relevance, share, numbers == z)}
        for z in np.unique(numbers)
    ]


def group_averages(
    perceived: Perceived, relevance: NDArray[np.float64], share: NDArray[np.float64] | None
) -> Table:
    """Mean and standard deviation of the sums over each group's atoms; groups that occur.

    Parameters
    ----------
    perceived
        The molecules, with A atoms.
    relevance, share : (A,) array
        Target's unit; no share is None.
    """
    table: Table = []
    for name, smarts in GROUPS.items():
        found = perceived.groups[name]
        if not len(found):
            continue
        shares = None if share is None else found.sums(share)
        line = _averages(found.sums(relevance), shares, np.ones(len(found), dtype=bool))
        molecules = len(np.unique(found.molecules))
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


# ------------------------------------------------------------------- what the tables need


def _shares(dataset: Dataset, rows: RelevanceRows) -> NDArray[np.float64] | None:
    """(A,) the physics' share of the target of each atom, where the data set has it."""
    name = rows.target.share_name
    if not rows.target.is_static or name not in dataset.columns:
        return None
    values = dataset.column(name)
    return values if np.isfinite(values).any() else None


def write_table(path: Path, table: Sequence[Mapping[str, object]]) -> None:
    """A CSV file with a heading; numbers with as many digits as they have."""
    text = io.StringIO()
    if table:
        writer = csv.DictWriter(text, fieldnames=list(table[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(table)
    write_whole(path, text.getvalue().encode())
