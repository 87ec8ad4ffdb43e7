"""Tables as a notebook shows them: pandas where it is, HTML anywhere."""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from hpcml.errors import PlatformError

if TYPE_CHECKING:
    import pandas

_MOST_ROWS = 20


def heading(name: str, unit: str) -> str:
    """A column's name with its unit in brackets, or alone where it has none."""
    return f"{name} [{unit}]" if unit else name


def to_pandas(columns: Mapping[str, Sequence[Any]]) -> pandas.DataFrame:
    """A data frame of columns; PlatformError where pandas is not installed."""
    try:
        found = importlib.import_module("pandas")
    except ImportError as error:
        raise PlatformError(
            "tables need pandas, which is not installed: pip install 'hpcml[notebook]'"
        ) from error
    frame: pandas.DataFrame = found.DataFrame(dict(columns))
    return frame


def html_table(
    columns: Mapping[str, Sequence[Any]], drawings: Sequence[str] = (), rows: int = 0
) -> str:
    """A table for ``_repr_html_``: at most 20 rows, and how many there are.

    columns     heading -> values; numbers with six digits
    drawings    SVG before each row, where there are any
    rows        number of rows of which these are the first; 0: these are all
    """
    lengths = [len(values) for values in columns.values()]
    shown = min(_MOST_ROWS, max(lengths, default=0))
    names = [*([""] if drawings else []), *columns]
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    lines = []
    for row in range(shown):
        cells = [f"<td>{drawings[row]}</td>"] if drawings else []
        cells += [f"<td>{escape(_text(values[row]))}</td>" for values in columns.values()]
        lines.append(f"<tr>{''.join(cells)}</tr>")
    total = rows or max(lengths, default=0)
    rest = f"<p>{shown} of {total:,} rows</p>" if total > shown else ""
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>{rest}"


def _text(value: Any) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.6g}"
    return str(value)
