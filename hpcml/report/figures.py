"""Figures as functions from arrays to SVG text."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from hpcml.report.facts import Averages, Curve, LearningCurve, Predictions, Removal
from hpcml.report.style import (
    BLUE,
    FAINT,
    GREEN,
    INK,
    PART_COLOURS,
    PART_MARKERS,
    VERMILLION,
    figure,
    plain_numbers,
    styled,
    to_svg,
)
from hpcml.report.words import duration
from hpcml.training.model_folder import PARTS

MOST_POINTS = 2000  # of a part, in a parity plot: more make the page heavy, not clearer


def parity(predictions: Predictions, name: str = "parity") -> str:
    """Predicted against computed values, a colour and a marker for each part of the split.

    Of a part with more than 2000 molecules an even sample of that size is drawn.
    """
    predictions = predictions.known
    label = with_unit(predictions.quantity, predictions.unit)
    with styled():
        drawn = figure(4.6, 4.4)
        axes = drawn.subplots()
        everything = np.concatenate([predictions.reference, predictions.predicted])
        low, high = _padded(everything)
        axes.plot([low, high], [low, high], color=FAINT, linewidth=1.0, zorder=1)
        size = 26.0 if len(predictions.reference) < 500 else 7.0
        for part in PARTS:
            rows = np.flatnonzero(predictions.parts == part)
            if not rows.size:
                continue
            shown = rows[np.unique(np.linspace(0, rows.size - 1, MOST_POINTS).astype(int))]
            axes.scatter(
                predictions.reference[shown],
                predictions.predicted[shown],
                s=0.6 * size if part == "train" else size,
                color=PART_COLOURS[part],
                marker=PART_MARKERS[part],
                alpha=0.75,
                linewidths=0,
                label=f"{part} ({rows.size:,})",
            )
        axes.set(xlim=(low, high), ylim=(low, high), aspect="equal")
        axes.set(xlabel=f"computed {label}", ylabel=f"predicted {label}")
        axes.xaxis.set_major_locator(MaxNLocator(6))
        axes.yaxis.set_major_locator(MaxNLocator(6))
        axes.grid(True)
        axes.legend(loc="upper left")
        return to_svg(drawn, name, f"Predicted against computed {label}")


def training_curve(curve: Curve, baseline: float | None = None, name: str = "curve") -> str:
    """Validation error (in its unit) above training loss, by epoch, both on logarithmic axes.

    baseline   error of the mean predictor on the validation rows, drawn as a line
    """
    with styled():
        drawn = figure(4.6, 4.4)
        above, below = drawn.subplots(2, 1, sharex=True, height_ratios=(3, 2))
        _logarithmic(above, curve.epochs, curve.validation_mae, BLUE)
        if baseline is not None and baseline > 0:
            above.axhline(baseline, color=FAINT, linewidth=1.2, linestyle=(0, (4, 3)))
            above.annotate(
                "mean predictor", (1, baseline), (0, 4), textcoords="offset points", ha="right",
                xycoords=above.get_yaxis_transform(), color=INK, fontsize=9,
            )  # fmt: skip
            low, high = above.get_ylim()
            above.set_ylim(min(low, baseline / 1.2), max(high, baseline * 1.5))
        best = int(np.nanargmin(curve.validation_mae))
        above.plot(curve.epochs[best], curve.validation_mae[best], "o", color=BLUE, markersize=5)
        above.set_title(
            f"validation MAE, {curve.unit}: "
            f"{curve.validation_mae[best]:.3g} at epoch {curve.epochs[best]}"
        )
        _logarithmic(below, curve.epochs, curve.loss, GREEN)
        below.set_title("training loss (scaled errors)")
        below.set_xlabel("epoch")
        below.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        return to_svg(drawn, name, "Validation error and training loss by epoch")


def averages(kinds: Averages, name: str = "averages") -> str:
    """Mean relevance of each kind as a dot with its spread, and its share as an open diamond."""
    count = len(kinds.names)
    at = np.arange(count)
    with styled():
        drawn = figure(4.6, 1.0 + 0.3 * count)
        axes = drawn.subplots()
        axes.axvline(0.0, color=FAINT, linewidth=1.0)
        axes.errorbar(
            kinds.mean, at, xerr=kinds.spread, fmt="o", color=VERMILLION, markersize=5,
            elinewidth=1.2, label="relevance (mean, standard deviation)",
        )  # fmt: skip
        if kinds.shares is not None:
            axes.plot(
                kinds.shares, at, "D", markersize=6, markerfacecolor="none",
                markeredgecolor=BLUE, markeredgewidth=1.4, label="share of the physics",
            )  # fmt: skip
        labels = [f"{n}  ({c:,})" for n, c in zip(kinds.names, kinds.counts, strict=True)]
        axes.set_yticks(at, labels)
        axes.set_ylim(count - 0.5, -0.5)
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel(with_unit(f"mean per {kinds.per}", kinds.unit))
        axes.grid(True, axis="x")
        drawn.legend(loc="outside upper left", ncols=2, fontsize=9)
        return to_svg(drawn, name, f"{kinds.title}: mean relevance of each kind")


def removal_curves(removal: Removal, name: str = "removal") -> str:
    """Mean change of the prediction by the part of the atoms taken away, with its interval."""
    with styled():
        drawn = figure(6.4, 3.6)
        axes = drawn.subplots()
        axes.axhline(0.0, color=FAINT, linewidth=1.0)
        for (order, (change, low, high)), colour in zip(
            removal.curves.items(), (VERMILLION, BLUE, INK), strict=True
        ):
            axes.fill_between(removal.fraction, low, high, color=colour, alpha=0.15, linewidth=0)
            axes.plot(removal.fraction, change, color=colour, linewidth=1.6, label=order)
        axes.set_xlabel("part of the atoms taken away")
        axes.set_ylabel(with_unit("change of the prediction", removal.unit))
        axes.set_xlim(0.0, 1.0)
        axes.grid(True)
        axes.legend()
        return to_svg(drawn, name, "Change of the prediction while atoms are taken away")


def stage_times(seconds: dict[str, float], name: str = "stages") -> str:
    """Wall time of each stage as a bar, in the order of the stages."""
    stages = list(seconds)
    values = np.array([seconds[stage] for stage in stages])
    with styled():
        drawn = figure(4.6, 0.2 + 0.34 * len(stages))
        axes = drawn.subplots()
        bars = axes.barh(np.arange(len(stages)), values, color=BLUE, height=0.62)
        axes.bar_label(
            bars, [duration(value) for value in values], padding=4, color=INK, fontsize=9
        )
        axes.set_yticks(np.arange(len(stages)), stages)
        axes.set_ylim(len(stages) - 0.5, -0.5)
        axes.set_xlim(0, max(float(values.max(initial=0.0)), 1e-9) * 1.25)
        axes.tick_params(axis="y", length=0)
        axes.xaxis.set_visible(False)  # every bar says its time
        axes.spines.bottom.set_visible(False)
        return to_svg(drawn, name, "Wall time of each stage")


def learning_curve(curve: LearningCurve, name: str = "learning") -> str:
    """Test error over training molecules, the simpler predictors as points beside the network."""
    sizes = np.unique([*curve.rows, *(rows for rows, _ in curve.baselines.values())])
    series = {"the network": np.full(len(sizes), np.nan)}
    series["the network"][np.searchsorted(sizes, curve.rows)] = curve.test_mae
    for baseline, (rows, mae) in curve.baselines.items():
        series[baseline] = np.where(sizes == rows, mae, np.nan)
    return lines(
        sizes.astype(np.float64),
        series,
        x_label="training molecules",
        y_label=f"test MAE, {curve.unit}",
        name=name,
    )


def lines(
    x: NDArray[np.float64],
    series: dict[str, NDArray[np.float64]],
    *,
    x_label: str,
    y_label: str,
    logarithmic: bool = True,
    name: str = "lines",
) -> str:
    """Several quantities over one, such as errors over the size of the training set.

    Parameters
    ----------
    x : (N,) array
    series : name -> (N,) array
        NaN where there is no value; the line goes on to the next that there is.
    """
    colours: Sequence[str] = (BLUE, VERMILLION, GREEN, "#cc79a7", "#56b4e9", "#e69f00", FAINT)
    markers = "oDs^vPX"
    with styled():
        drawn = figure(5.2, 3.8)
        axes = drawn.subplots()
        for place, (label, values) in enumerate(series.items()):
            style = place % len(colours)
            known = np.isfinite(values)
            axes.plot(
                x[known], values[known], marker=markers[style], color=colours[style], label=label
            )
        if logarithmic:
            axes.set(xscale="log", yscale="log")
            plain_numbers(axes)
        axes.set(xlabel=x_label, ylabel=y_label)
        axes.grid(True)
        axes.legend()
        return to_svg(drawn, name, f"{y_label} over {x_label}")


def with_unit(quantity: str, unit: str) -> str:
    """ "isotropic polarizability, a.u.": a label of an axis."""
    return f"{quantity}, {unit}" if unit else quantity


def _padded(values: NDArray[np.float64]) -> tuple[float, float]:
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    margin = 0.04 * (high - low) or max(abs(high), 1.0) * 0.04
    return low - margin, high + margin


def _logarithmic(
    axes: Axes, epochs: NDArray[np.int64], values: NDArray[np.float64], colour: str
) -> None:
    axes.plot(epochs, values, color=colour, marker="o" if len(epochs) < 3 else "")
    if np.nanmin(values) > 0:
        axes.set_yscale("log")
        plain_numbers(axes)
    axes.grid(True)
