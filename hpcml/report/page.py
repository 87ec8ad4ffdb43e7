"""The page: facts put into words, tables and charts, one file that needs nothing else."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from hpcml.files import make_folder, write_whole
from hpcml.relevance.ledger import MOSTLY_CANCELLATION
from hpcml.report import charts
from hpcml.report.analysis_tables import CONSERVATION
from hpcml.report.computed_properties import property_table
from hpcml.report.facts import Explanation, Predictions, ReportFacts, Table
from hpcml.report.headlines import five_facts
from hpcml.report.page_data import molecules, packed, policy, scripts
from hpcml.report.prediction_errors import errors
from hpcml.report.words import number, who_hands_back

_MOST_FAILURES = 12  # named on the page; all are in failures.jsonl


def build(facts: ReportFacts, destination: Path) -> Path:
    """Write the page to ``destination`` (made whole, then put in place) and return its path.

    It is a single HTML file: styles, scripts, data and drawings are in it, and nothing is fetched.
    Every text in ``facts`` is escaped, and no script but the page's own may run.
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
    drawn = _charts(facts)
    texts = scripts()
    return environment.get_template("page.html.j2").render(
        facts=facts,
        stylesheet=Markup(stylesheet),
        policy=policy(texts),
        scripts=[Markup(text) for text in texts],
        data=packed({"charts": drawn, "gallery": molecules(facts)}),
        charts=drawn,
        lead=_lead(facts),
        five=five_facts(facts),
        properties=property_table(facts.properties, facts.names) if facts.properties else None,
        predictions=[_prediction(predictions) for predictions in facts.predictions],
        explanation=_explanation(facts.explanation) if facts.explanation else None,
        shown=_shown(facts),
        tables=_tables(facts),
        causes=_causes(facts),
        failures=facts.failures[:_MOST_FAILURES],
        more_failures=max(0, len(facts.failures) - _MOST_FAILURES),
    )


def _charts(facts: ReportFacts) -> dict[str, charts.Chart]:
    """Every chart that there is something to draw in, by its name on the page."""
    drawn = _charts_of_molecules(facts)
    if facts.curve and facts.curve.epochs.size:
        first = facts.predictions[0] if facts.predictions else None
        drawn["curve"] = charts.training_curve(facts.curve, _validation_baseline(first))
    for place, residuals in enumerate(facts.residuals):
        if residuals.kinds:
            drawn[f"residuals{place}"] = charts.residual_boxes(residuals)
    if facts.learning:
        drawn["learning"] = charts.learning_curve(facts.learning)
    drawn |= _charts_of_relevance(facts)
    for place, level in enumerate(facts.inside.carried if facts.inside else ()):
        drawn[f"inside{place}"] = charts.directions(level)
    if facts.seconds:
        drawn["stages"] = charts.stage_times(facts.seconds)
    if facts.utilization:
        drawn["ranks"] = charts.utilization(facts.utilization)
    if facts.failures:
        drawn["causes"] = charts.causes(_causes(facts))
    return drawn


def _charts_of_molecules(facts: ReportFacts) -> dict[str, charts.Chart]:
    """Those whose points show their molecule where it is drawn."""
    places = {one.row: place for place, one in enumerate(facts.gallery) if one.row >= 0}
    names = {one.row: one.molecule.name or one.molecule.formula for one in facts.gallery}
    names |= facts.names
    drawn = {
        f"property{place}": charts.distribution(computed, places, names)
        for place, computed in enumerate(facts.properties)
    }
    for place, predictions in enumerate(facts.predictions):
        drawn[f"parity{place}"] = charts.parity(predictions, places, names)
    return drawn


def _charts_of_relevance(facts: ReportFacts) -> dict[str, charts.Chart]:
    """Where predictions went, how far that cancels, and how it agrees with the physics."""
    drawn = {}
    unit = facts.explanation.unit if facts.explanation else ""
    for table in facts.tables:
        if table.title == CONSERVATION and table.bars:
            drawn["ledger"] = charts.ledger(table, unit)
    if facts.explanation and np.isfinite(facts.explanation.cancellation).any():
        drawn["cancellation"] = charts.cancellation(
            facts.explanation.cancellation, MOSTLY_CANCELLATION
        )
    if facts.reasons and facts.reasons.lines:
        drawn["reasons"] = charts.reasons(facts.reasons)
    for place, kinds in enumerate(facts.averages):
        drawn[f"averages{place}"] = charts.averages(kinds)
    if facts.trust and facts.trust.removal:
        drawn["removal"] = charts.removal_curves(facts.trust.removal)
    return drawn


def _causes(facts: ReportFacts) -> list[tuple[str, int]]:
    return Counter(failed.cause for failed in facts.failures).most_common()


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


def _prediction(predictions: Predictions) -> dict[str, Any]:
    largest = max(Counter(predictions.parts.tolist()).values(), default=0)
    sampled = largest > charts.MOST_POINTS
    return {
        "quantity": predictions.quantity,
        "unit": predictions.unit,
        "sampled": f" Of each part at most {charts.MOST_POINTS:,} are shown." if sampled else "",
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
    return {
        "text": (
            f"{who_hands_back(explanation.rule)} the predicted {explanation.quantity} back to the "
            "atoms. What no atom receives stands in the ledger below each molecule."
        ),
        "closure": f"The ledgers of {explanation.molecules:,} molecules close to "
        f"{number(explanation.closure)} of max(1, |prediction|).",
        "terms": list(explanation.terms.items()),
    }


def _shown(facts: ReportFacts) -> str:
    """How many of the molecules are drawn."""
    drawn = len(facts.gallery)
    if drawn >= facts.computed:
        return f"All {drawn:,} molecules are here."
    return (
        f"A sample: {drawn:,} of {facts.computed:,} molecules are here, most of them of the test "
        "set, from the smallest to the largest error, and those far out in a property. The numbers "
        "in charts and tables are of all molecules."
    )


def _tables(facts: ReportFacts) -> tuple[Table, ...]:
    return ((facts.reasons.table,) if facts.reasons else ()) + facts.tables
