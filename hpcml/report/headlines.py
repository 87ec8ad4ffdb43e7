"""The answers at a glance: five numbers at the head of the page, and lines for the screen."""

from __future__ import annotations

import math

import numpy as np

from hpcml.report.facts import ReportFacts
from hpcml.report.prediction_errors import Comparison, comparison, errors
from hpcml.report.words import duration, number


def five_facts(facts: ReportFacts) -> list[dict[str, str]]:
    """The answer at a glance: label, value and note of five numbers."""
    tried = facts.computed + len(facts.failures)
    five = [
        {
            "label": "molecules computed",
            "value": f"{facts.computed:,}",
            "note": f"{len(facts.failures):,} of {tried:,} failed" if tried else "none yet",
        }
    ]
    test = None
    if facts.predictions:
        by_part = {row.part: row for row in errors(facts.predictions[0])}
        test = by_part.get("test") or next(iter(by_part.values()), None)
    if test:
        unit = facts.predictions[0].unit
        beside = comparison(facts.predictions[0])
        five += [
            {
                "label": f"mean absolute error, {test.part}",
                "value": f"{number(test.mae)} {unit}",
                "note": f"R² {number(test.r2)}, {test.molecules:,} molecules",
            },
            _beside_counts(beside, unit),
        ]
    else:
        five += [
            {"label": "mean absolute error", "value": "–", "note": "no network yet"},
            {"label": "beside atom counts", "value": "–", "note": "no network yet"},
        ]
    if facts.reasons:
        low, high = number(facts.reasons.low, 2), number(facts.reasons.high, 2)
        few = math.isnan(facts.reasons.low)
        five.append(
            {
                "label": f"reasons score, {facts.reasons.part}",
                "value": number(facts.reasons.correlation, 2),
                "note": "too few molecules" if few else f"95 % interval {low} to {high}",
            }
        )
    elif facts.explanation:
        five.append(
            {
                "label": "ledger closes to",
                "value": number(facts.explanation.closure),
                "note": f"of max(1, |prediction|), {facts.explanation.molecules:,} molecules",
            }
        )
    else:
        five.append({"label": "ledger closes to", "value": "–", "note": "nothing explained yet"})
    total = sum(facts.seconds.values())
    five.append(
        {
            "label": "wall time",
            "value": duration(total) if facts.seconds else "–",
            "note": f"{len(facts.seconds)} stages" if facts.seconds else "not kept",
        }
    )
    return five


def told(facts: ReportFacts) -> list[str]:
    """Lines for the screen: what was computed, how well it is predicted, and for what reasons."""
    level = f" at {facts.level}" if facts.level else ""
    failed = f", {len(facts.failures):,} failed" if facts.failures else ""
    lines = [f"{facts.computed:,} molecules{level}{failed}"]
    for one in facts.properties:
        values = one.values[np.isfinite(one.values)]
        ends = [number(float(each(values))) for each in (np.min, np.max, np.median)]
        unit = f" {one.unit}" if one.unit else ""
        lines.append(f"{one.quantity}: {ends[0]} to {ends[1]}{unit}, median {ends[2]}")
    for predictions in facts.predictions:
        beside = comparison(predictions)
        if beside is not None:
            lines.append(
                f"{predictions.quantity}: {beside.part} MAE {number(beside.network_mae)} "
                f"{predictions.unit}, least squares on atom counts {number(beside.counts_mae)}: "
                f"{_times(beside)}, {beside.molecules:,} molecules"
            )
    if facts.reasons:
        score, low, high = facts.reasons.correlation, facts.reasons.low, facts.reasons.high
        controls = [line for line in facts.reasons.lines if line.kind == "control"]
        beside_it = ""
        if controls:
            best = max(controls, key=lambda line: line.score)
            beside_it = f"; best control ({best.name}) {number(best.score, 2)}"
        within = "" if math.isnan(low) else f" ({number(low, 2)} to {number(high, 2)})"
        lines.append(f"reasons score {number(score, 2)}{within}, {facts.reasons.part}{beside_it}")
    return lines


def _beside_counts(beside: Comparison | None, unit: str) -> dict[str, str]:
    label = "beside least squares on atom counts"
    if beside is None:
        return {"label": label, "value": "–", "note": "too few training molecules"}
    return {
        "label": label,
        "value": f"{beside.ratio:,.2g} times smaller error"
        if beside.ratio >= 1
        else f"{1 / beside.ratio:,.2g} times larger error",
        "note": f"which errs by {number(beside.counts_mae)} {unit}; {_interval(beside)}",
    }


def _times(beside: Comparison) -> str:
    return f"ratio {number(beside.ratio, 2)} ({_interval(beside)})"


def _interval(beside: Comparison) -> str:
    if math.isnan(beside.low):
        return "too few molecules for an interval"
    return f"95 % interval of the ratio {beside.low:.2f} to {beside.high:.2f}"
