"""Figures, and one self-contained HTML page for a run."""

from hpcml.report.collect import collect
from hpcml.report.facts import (
    Averages,
    Curve,
    Errors,
    Explained,
    Explanation,
    Failed,
    LearningCurve,
    Predictions,
    Reasons,
    ReportFacts,
    Table,
    errors,
)
from hpcml.report.page import build, render

__all__ = [
    "Averages",
    "Curve",
    "Errors",
    "Explained",
    "Explanation",
    "Failed",
    "LearningCurve",
    "Predictions",
    "Reasons",
    "ReportFacts",
    "Table",
    "build",
    "collect",
    "errors",
    "render",
]
