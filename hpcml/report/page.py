"""The page: facts put into words and pictures, one file that needs nothing else to be read."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from hpcml.files import make_folder, write_whole
from hpcml.report import figures
from hpcml.report.computed_properties import property_table
from hpcml.report.drawings import colour_scale, molecule_drawing
from hpcml.report.facts import Explained, Explanation, Predictions, ReportFacts, Table
from hpcml.report.headlines import five_facts
from hpcml.report.prediction_errors import errors
from hpcml.report.representation_figure import direction_figure
from hpcml.report.words import decimals_of, number, who_hands_back

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
        properties=property_table(facts.properties, facts.names) if facts.properties else None,
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
                "counts": number(row.atom_counts_mae),
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
