"""Does a network predict for the right reasons? Tables and scores from relevances."""

from hpcml.analysis.analyze_stage import analyze
from hpcml.analysis.reasons import Score, reasons_score
from hpcml.analysis.summary import summary

__all__ = ["Score", "analyze", "reasons_score", "summary"]
