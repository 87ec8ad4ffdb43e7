"""Does a network predict for the right reasons? Tables and scores from relevances."""

from hpcml.analysis.reasons import Score, reasons_score
from hpcml.analysis.stage import analyze

__all__ = ["Score", "analyze", "reasons_score"]
