"""Figures for papers: drawn at the width of a column, in the size at which they are printed."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from hpcml.report.facts import LearningCurve, Predictions, ScoreLine
from hpcml.report.prediction_errors import errors
from hpcml.report.style import (
    BLUE,
    FAINT,
    GREEN,
    PART_COLOURS,
    PART_MARKERS,
    VERMILLION,
)
from hpcml.report.words import number
from hpcml.training.model_folder import PARTS

WIDTHS: dict[str, float] = {"single": 85 / 25.4, "double": 178 / 25.4}
"""Inches of one and of two columns, as most journals have them (85 and 178 mm)."""
STYLE: Any = {  # Any: the keys' type is a list of all of matplotlib's settings
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib, and has the signs of units
    "font.size": 7,
    "axes.titlesize": 7,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.4,
    "legend.frameon": False,
    "lines.linewidth": 1.0,
    "lines.markersize": 3.5,
    "text.parse_math": False,  # names and units come from files: no markup in them
    "pdf.fonttype": 42,  # TrueType, embedded: text stays text
    "svg.fonttype": "path",
    "svg.hashsalt": "hpcml",
    "savefig.dpi": 600,
}
_MOST_POINTS = 5000  # of a part: more make the file heavy, not clearer
_SERIES = (BLUE, VERMILLION, GREEN, "#cc79a7", "#56b4e9", "#e69f00", FAINT)


def sheet(width: str, height: float) -> Figure:
    """An empty figure of a column's width; ``height`` as a part of it."""
    inches = WIDTHS[width]
    return Figure(figsize=(inches, height * inches), layout="constrained")


def parity(predictions: Predictions, width: str = "single") -> Figure:
    """Predicted against computed values, and how the errors of the test molecules lie.

    Two columns have both panels side by side, one column has the first alone.
    """
    known = predictions.known
    label = f"{known.quantity} / {known.unit}" if known.unit else known.quantity
    both = width == "double"
    drawn = sheet(width, 0.5 if both else 0.95)
    left, *right = drawn.subplots(1, 2 if both else 1, squeeze=False)[0]
    _points(left, known, label)
    for axes in right:
        part = next(p for p in reversed(PARTS) if (known.parts == p).any())
        chosen = known.parts == part
        axes.hist(
            known.predicted[chosen] - known.reference[chosen],
            bins="auto",
            color=PART_COLOURS[part],
        )
        axes.axvline(0.0, color="black", linewidth=0.6)
        axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.set(xlabel=f"error of {label}", ylabel=f"molecules ({part})")
    return drawn


def _points(axes: Axes, known: Predictions, label: str) -> None:
    everything = np.concatenate([known.reference, known.predicted])
    low, high = float(everything.min()), float(everything.max())
    margin = 0.04 * (high - low) or 1.0
    low, high = low - margin, high + margin
    axes.plot([low, high], [low, high], color=FAINT, linewidth=0.6, zorder=1)
    mae = {row.part: row.mae for row in errors(known)}
    for part in PARTS:
        rows = np.flatnonzero(known.parts == part)
        if not rows.size:
            continue
        shown = rows[np.unique(np.linspace(0, rows.size - 1, _MOST_POINTS).astype(int))]
        axes.scatter(
            known.reference[shown],
            known.predicted[shown],
            s=5.0 if rows.size < 500 else 1.5,
            color=PART_COLOURS[part],
            marker=PART_MARKERS[part],
            alpha=0.75,
            linewidths=0,
            rasterized=rows.size > _MOST_POINTS,
            label=f"{part} ({rows.size:,}), MAE {number(mae[part])}",
        )
    axes.set(xlim=(low, high), ylim=(low, high), aspect="equal")
    axes.set(xlabel=f"computed {label}", ylabel=f"predicted {label}")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(5))
    axes.grid(True)
    axes.legend(loc="upper left", handletextpad=0.3, borderpad=0.1)


def learning(curve: LearningCurve, width: str = "single") -> Figure:
    """Test error over the size of the training set, simpler predictors as points beside it."""
    drawn = sheet(width, 0.75 if width == "single" else 0.45)
    axes = drawn.subplots()
    axes.plot(curve.rows, curve.test_mae, "o-", color=_SERIES[0], label="the network")
    for place, (name, (rows, mae)) in enumerate(curve.baselines.items(), 1):
        marker = "Ds^vPX"[(place - 1) % 6]
        axes.plot([rows], [mae], marker, color=_SERIES[place % len(_SERIES)], label=name)
    axes.set(xscale="log", yscale="log")
    axes.set(xlabel="training molecules", ylabel=f"test MAE / {curve.unit}")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
        axis.set_minor_formatter(FuncFormatter(_minor))
    axes.grid(True, which="both")
    axes.legend()
    return drawn


def _minor(value: float, _: float) -> str:
    return f"{value:,g}" if f"{value:.0e}"[0] in "25" else ""


def reasons(lines: tuple[ScoreLine, ...], part: str, width: str = "single") -> Figure:
    """The reasons score of the network, of controls and of ceilings, each with its interval."""
    drawn = sheet(width, 0.25 + (0.055 if width == "single" else 0.03) * len(lines))
    axes = drawn.subplots()
    colours = {"network": VERMILLION, "control": FAINT, "ceiling": BLUE}
    markers = {"network": "D", "control": "o", "ceiling": "s"}
    for place, line in enumerate(lines):
        axes.plot([line.low, line.high], [place, place], color=colours[line.kind])
        axes.plot(line.score, place, markers[line.kind], color=colours[line.kind])
    axes.axvline(0.0, color="black", linewidth=0.6)
    names = [line.name if line.kind == "network" else f"{line.kind}: {line.name}" for line in lines]
    axes.set_yticks(range(len(lines)), names)
    axes.set_ylim(len(lines) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(f"reasons score ({part}), 95 % intervals")
    axes.grid(True, axis="x")
    return drawn


def distances(
    ends: NDArray[np.float64],
    mean: NDArray[np.float64],
    size: NDArray[np.float64],
    unit: str,
    width: str = "single",
) -> Figure:
    """Relevance of pairs of atoms by their distance: its mean, and the mean of its size.

    Parameters
    ----------
    ends : (B, 2) array
        Angstrom: where each bin begins and ends.
    mean, size : (B,) array
        In ``unit``: mean relevance of its pairs, mean absolute relevance.
    """
    drawn = sheet(width, 0.75 if width == "single" else 0.45)
    axes = drawn.subplots()
    axes.axhline(0.0, color="black", linewidth=0.6)
    middle = ends.mean(axis=1)
    axes.plot(middle, size, "o-", color=BLUE, label="mean size")
    axes.plot(middle, mean, "D-", color=VERMILLION, label="mean")
    axes.set(xlabel="distance of the pair / Å", ylabel=f"relevance / {unit}")
    axes.grid(True)
    axes.legend()
    return drawn
