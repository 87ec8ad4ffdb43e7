"""Checks of an explanation that look at a run's relevances alone: do they make an account?"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from hpcml.analysis.reasons import molecule_of
from hpcml.analysis.verdicts import Check, Estimate, Question, largest, mean, median
from hpcml.relevance.ledger import LEDGER, MOSTLY_CANCELLATION, OFFSETS, relative_closure
from hpcml.relevance.relevance_rows import RelevanceRows

CLOSES = 1e-5
"""A ledger of single precision closes to this part of max(1, |prediction|)."""
_HALF = 0.5


def conserved(rows: RelevanceRows) -> Check:
    """Whether atoms and ledger add up to each prediction."""
    explained = np.bincount(molecule_of(rows.offsets), rows.atoms, len(rows)).astype(np.float64)
    gap = relative_closure(rows.prediction, explained, rows.ledger)
    open_rows = int((gap > CLOSES).sum())
    return Question(
        "conservation",
        "largest |prediction - atoms - ledger| / max(1, |prediction|)",
        passes="atoms and ledger add up to every prediction",
        fails=f"atoms and ledger do not add up to the prediction of {open_rows:,} molecules",
    ).below(CLOSES, largest(gap))


def given(rows: RelevanceRows) -> Check:
    """How much of what is handed out goes to atoms."""
    molecule = molecule_of(rows.offsets)
    said = [number for number, term in enumerate(LEDGER) if term not in OFFSETS]
    to_atoms = np.bincount(molecule, np.abs(rows.atoms), len(rows))
    with np.errstate(invalid="ignore", divide="ignore"):
        share = to_atoms / (to_atoms + np.abs(rows.ledger[:, said]).sum(axis=1))
    return Question(
        "given to atoms",
        "sum of |atoms| / (sum of |atoms| + sum of |bias, epsilon, taylor|), mean",
        passes="most of what is handed out goes to atoms",
        fails="most of what is handed out goes to no atom",
    ).above(_HALF, mean(share))


def cancelled(rows: RelevanceRows) -> Check:
    """How much larger the parts of an explanation are than their sum."""
    return Question(
        "cancellation",
        "sum of |parts| / |sum of parts|, median",
        passes="the parts of an explanation are of the size of what they add up to",
        fails="mostly cancellation: colours on atoms tell more of the rule than of the molecule",
    ).below(MOSTLY_CANCELLATION, median(rows.cancellation))


def carried(folder: Path) -> Check:
    """Whether the group in which two molecules differ carries the change of the prediction.

    folder   where pairs_summary.csv lies, if there are any pairs
    """
    asks = Question(
        "matched pairs",
        "correlation of the changed groups' relevance with the prediction's change",
        passes="where two molecules differ in one group, that group carries the change",
        fails="where two molecules differ in one group, other atoms carry the change",
    )
    path = folder / "pairs_summary.csv"
    if not path.exists():
        return asks.untold("no two molecules that were looked at differ in one group alone")
    with path.open(encoding="utf-8", newline="") as file:
        line = next(row for row in csv.DictReader(file) if _is_headline(row))
    value, low, high = (float(line[name]) for name in ("correlation", "low", "high"))
    return asks.above(_HALF, Estimate(value, low, high, int(line["pairs"])))


def _is_headline(row: dict[str, str]) -> bool:
    asked = (row["part"], row["change_of"], row["with"], row["transformation"])
    return asked == ("all", "relevance_changed", "prediction", "kept")
