"""The page: facts put into words and pictures, one file that needs nothing else to be read."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from hpcml.files import make_folder, write_whole
from hpcml.report import figures
from hpcml.report.drawings import colour_scale, molecule_drawing
from hpcml.report.facts import Explained, Explanation, Predictions, ReportFacts, Table, errors
from hpcml.report.representation_figure import direction_figure
from hpcml.report.words import decimals_of, duration, number, who_hands_back

_MOST_FAILURES = 12  # named on the page; all are in failures.jsonl


def build(facts: ReportFacts, destination: Path) -> Path:
    """Write the page to ``destination`` (made whole, then put in place) and return its path.

    It is a single HTML file: styles, figures and drawings are in it, and nothing is fetched.
    Every text in ``facts`` is escaped.
    """
    page = render(facts)
    make_folder(destination.parent)
    write_whole(destination, page.encode())
    return destination


def render(facts: ReportFacts) -> str:
    """The page as text."""
    environment = Environment(
        loader=PackageLoader("hpcml.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    stylesheet, _, _ = environment.loader.get_source(environment, "page.css")  # type: ignore[union-attr]
    first = facts.predictions[0] if facts.predictions else None
    causes = Counter(failed.cause for failed in facts.failures).most_common()
    return environment.get_template("page.html.j2").render(
        facts=facts,
        stylesheet=Markup(stylesheet),
        lead=_lead(facts),
        five=five_facts(facts),
        predictions=[
            _prediction(predictions, f"parity{place}")
            for place, predictions in enumerate(facts.predictions)
        ],
        curve=Markup(figures.training_curve(facts.curve, _validation_baseline(first)))
        if facts.curve and facts.curve.epochs.size
        else None,
        learning=Markup(figures.learning_curve(facts.learning)) if facts.learning else None,
        explanation=_explanation(facts.explanation) if facts.explanation else None,
        averages=[
            {"title": kinds.title, "figure": Markup(figures.averages(kinds, f"averages{place}"))}
            for place, kinds in enumerate(facts.averages)
        ],
        tables=_tables(facts),
        removal=Markup(figures.removal_curves(facts.trust.removal))
        if facts.trust and facts.trust.removal
        else None,
        inside=Markup(direction_figure(facts.inside.carried)) if facts.inside else None,
        stages=Markup(figures.stage_times(facts.seconds)) if facts.seconds else None,
        causes=causes,
        failures=facts.failures[:_MOST_FAILURES],
        more_failures=max(0, len(facts.failures) - _MOST_FAILURES),
    )


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
        better = test.mean_predictor_mae / test.mae if test.mae > 0 else math.inf
        five += [
            {
                "label": f"mean absolute error, {test.part}",
                "value": f"{number(test.mae)} {unit}",
                "note": f"R² {number(test.r2)}, {test.molecules:,} molecules",
            },
            {
                "label": "better than the mean",
                "value": f"{better:,.1f} times",
                "note": f"which errs by {number(test.mean_predictor_mae)} {unit}",
            },
        ]
    else:
        five += [
            {"label": "mean absolute error", "value": "–", "note": "no network yet"},
            {"label": "better than the mean", "value": "–", "note": "no network yet"},
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


def _lead(facts: ReportFacts) -> str:
    parts = []
    if facts.computed:
        level = f" at {facts.level}" if facts.level else ""
        parts.append(f"{facts.computed:,} molecules computed{level}")
    if facts.predictions:
        names = ", ".join(predictions.quantity for predictions in facts.predictions)
        parts.append(f"a network trained on their {names}")
    if facts.explanation:
        parts.append("each prediction handed back to the atoms")
    return "; ".join(parts) + "." if parts else ""


def _validation_baseline(predictions: Predictions | None) -> float | None:
    rows = errors(predictions) if predictions else ()
    return next((row.mean_predictor_mae for row in rows if row.part == "validation"), None)


def _prediction(predictions: Predictions, name: str) -> dict[str, Any]:
    largest = max(Counter(predictions.parts.tolist()).values(), default=0)
    sampled = largest > figures.MOST_POINTS
    return {
        "quantity": predictions.quantity,
        "unit": predictions.unit,
        "parity": Markup(figures.parity(predictions, name)),
        "sampled": f" Of each part at most {figures.MOST_POINTS:,} are shown." if sampled else "",
        "errors": [
            {
                "part": row.part,
                "molecules": f"{row.molecules:,}",
                "mae": number(row.mae),
                "rmse": number(row.rmse),
                "r2": number(row.r2),
                "baseline": number(row.mean_predictor_mae),
            }
            for row in errors(predictions)
        ],
    }


def _explanation(explanation: Explanation) -> dict[str, Any]:
    limit = (
        max((float(np.abs(one.relevance).max()) for one in explanation.drawn), default=1.0) or 1.0
    )
    drawn = len(explanation.drawn)
    shown = f"Shown are {drawn} of {explanation.molecules:,} molecules: those of the test set "
    shown += "first, in each part of the split from the smallest to the largest error."
    return {
        "text": (
            f"{who_hands_back(explanation.rule)} the predicted {explanation.quantity} back to the "
            f"atoms. What no atom receives stands in the ledger below each molecule. {shown}"
        ),
        "terms": list(explanation.terms.items()),
        "scale": Markup(colour_scale(limit, explanation.unit)),
        "legend": "Relevance of an atom: vermillion raises the prediction, blue lowers it. One "
        "scale for all molecules; rest on an atom to read its number.",
        "cards": [
            _card(one, limit, explanation.unit, f"molecule{place}")
            for place, one in enumerate(explanation.drawn)
        ],
    }


def _card(one: Explained, limit: float, unit: str, name: str) -> dict[str, Any]:
    drawing = molecule_drawing(one.molecule, one.relevance, limit, unit=unit, name=name)
    decimals = decimals_of(one.prediction)
    terms = {"sum over atoms": float(one.relevance.sum()), **one.ledger}
    return {
        "drawing": Markup(drawing),
        "name": one.molecule.name or one.molecule.formula,
        "formula": one.molecule.formula,
        "part": one.part,
        "reference": number(one.reference, decimals),
        "prediction": number(one.prediction, decimals),
        "ledger": [(label, number(value, decimals)) for label, value in terms.items()],
    }


def _tables(facts: ReportFacts) -> tuple[Table, ...]:
    return ((facts.reasons.table,) if facts.reasons else ()) + facts.tables
