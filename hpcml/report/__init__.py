"""Figures, and one self-contained HTML page for a run."""

from hpcml.report.collect import collect
from hpcml.report.facts import (
    Averages,
    Computed,
    Curve,
    Explanation,
    Failed,
    LearningCurve,
    Predictions,
    Reasons,
    ReportFacts,
    ScoreLine,
    Shown,
    Table,
    Utilization,
)
from hpcml.report.headlines import told
from hpcml.report.page import build, render
from hpcml.report.prediction_errors import Errors, comparison, errors

__all__ = [
    "Averages",
    "Computed",
    "Curve",
    "Errors",
    "Explanation",
    "Failed",
    "LearningCurve",
    "Predictions",
    "Reasons",
    "ReportFacts",
    "ScoreLine",
    "Shown",
    "Table",
    "Utilization",
    "build",
    "collect",
    "comparison",
    "errors",
    "render",
    "told",
]
