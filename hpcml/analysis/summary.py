"""What the tables of an analysis say in a line or two."""

from __future__ import annotations

import csv
import math
from pathlib import Path

from hpcml.analysis.analyze_stage import CANCELLATION
from hpcml.analysis.reasons import LEAST_MOLECULES
from hpcml.analysis.reasons_table import ALL_ATOMS, NETWORK, REMOVED, headline_composition
from hpcml.relevance.ledger import MOSTLY_CANCELLATION


def summary(folder: Path) -> list[str]:
    """Lines for the screen: the reasons score where there is one, on test molecules where there
    are any; and a warning where explanations are mostly cancellation."""
    lines = []
    table = _rows(folder / "reasons.csv")
    composition = headline_composition({row["composition"] for row in table})
    headline = {
        row["part"]: row
        for row in table
        if (row["of"], row["composition"], row["scored"]) == (ALL_ATOMS, composition, NETWORK)
    }
    part = "test" if "test" in headline else "all"
    if part in headline:
        row = headline[part]
        pooled, ranked = (
            f"{float(row[score]):.2f} ({interval(float(row[low]), float(row[high]))})"
            for score, low, high in (("correlation", "low", "high"),
                                     ("rank", "rank_low", "rank_high"))
        )  # fmt: skip
        told = f"composition {composition}" if composition == REMOVED else composition
        lines.append(
            f"reasons score {pooled} pooled, {ranked} by rank, {told}, "
            f"{row['molecules']} molecules ({part})"
        )
    medians = {row["term"]: float(row["median"]) for row in _rows(folder / "conservation.csv")}
    ratio = medians.get(CANCELLATION, 0.0)
    if ratio >= MOSTLY_CANCELLATION:
        lines.append(
            f"mostly cancellation: the parts of an explanation are {ratio:.3g} times their sum "
            "(median): colours on atoms tell more of the rule than of the molecule"
        )
    return lines


def interval(low: float, high: float) -> str:
    """An interval in words, or why there is none."""
    if math.isnan(low):
        return f"no interval: fewer than {LEAST_MOLECULES} molecules"
    return f"{low:.2f} to {high:.2f}"


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
