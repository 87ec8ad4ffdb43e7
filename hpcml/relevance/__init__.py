"""What each atom was worth to a prediction, and a ledger of everything else.

Names are imported when they are asked for: reading relevances needs no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from hpcml.relevance.rows import LEDGER, RelevanceRow, RelevanceRows, open_relevance
from hpcml.relevance.settings import ExplainSettings

if TYPE_CHECKING:
    from hpcml.relevance.blocks import by_block
    from hpcml.relevance.comparators import explain_by
    from hpcml.relevance.propagation import Relevance, explain
    from hpcml.relevance.registry import declare
    from hpcml.relevance.rules import AlphaBeta, Composite, Epsilon, Flat, Gamma, WSquare, z_plus

_PLACES = {
    "by_block": "blocks",
    "explain_by": "comparators",
    "Relevance": "propagation",
    "explain": "propagation",
    "declare": "registry",
    "AlphaBeta": "rules",
    "Composite": "rules",
    "Epsilon": "rules",
    "Flat": "rules",
    "Gamma": "rules",
    "WSquare": "rules",
    "z_plus": "rules",
}

__all__ = [
    "LEDGER",
    "AlphaBeta",
    "Composite",
    "Epsilon",
    "ExplainSettings",
    "Flat",
    "Gamma",
    "Relevance",
    "RelevanceRow",
    "RelevanceRows",
    "WSquare",
    "by_block",
    "declare",
    "explain",
    "explain_by",
    "open_relevance",
    "z_plus",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"hpcml.relevance.{_PLACES[name]}"), name)
