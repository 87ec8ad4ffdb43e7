"""Charts of the page, as what plotly takes: traces, a layout, and words for those who cannot see.

Colours of text, axes and grid are the page's own (templates/page.css), light and dark; those of
data are here.  Names come from files and plotly reads some HTML in text: all go through ``plain``.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcml.report.facts import (
    Averages,
    Carried,
    Computed,
    Curve,
    LearningCurve,
    Predictions,
    Reasons,
    Removal,
    Residuals,
    Table,
    Utilization,
)
from hpcml.report.style import BLUE, FAINT, GREEN, PART_COLOURS, VERMILLION
from hpcml.report.words import duration, number
from hpcml.training.model_folder import PARTS

Chart = dict[str, Any]
"""data, layout (with a height), alt; shown by page.js."""
MOST_POINTS = 2000  # of a part, in a parity plot: more make the page heavy, not clearer
SERIES = (BLUE, VERMILLION, GREEN, "#cc79a7", "#56b4e9", "#e69f00", FAINT)
_SYMBOLS = ("circle", "diamond", "square", "triangle-up", "triangle-down", "cross", "x")
_PART_SYMBOLS = {"train": "circle", "validation": "square", "test": "diamond"}
_BINS = 40


def plain(text: str) -> str:
    """Text that plotly shows as it is: neither its HTML nor, between dollar signs, formulas."""
    return html.escape(text, quote=False).replace("$", "&#36;")


def parity(predictions: Predictions, place_of: dict[int, int], names: dict[int, str]) -> Chart:
    """Predicted against computed values; a point's molecule shows where it is drawn.

    place_of   row of the data set -> number of its drawing
    names      of rows of the data set, as far as they are known
    """
    known = predictions.known
    label = _with_unit(known.quantity, known.unit)
    everything = np.concatenate([known.reference, known.predicted])
    ends = [float(everything.min()), float(everything.max())]
    traces: list[Chart] = [
        {"type": "scatter", "mode": "lines", "x": ends, "y": ends, "hoverinfo": "skip",
         "line": {"color": FAINT, "width": 1}, "showlegend": False}
    ]  # fmt: skip
    for part in PARTS:
        rows = np.flatnonzero(known.parts == part)
        if not rows.size:
            continue
        shown = rows[np.unique(np.linspace(0, rows.size - 1, MOST_POINTS).astype(int))]
        of = [-1] * len(shown) if known.rows is None else known.rows[shown].tolist()
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": f"{part} ({rows.size:,})",
                "x": _digits(known.reference[shown]),
                "y": _digits(known.predicted[shown]),
                "marker": {
                    "color": PART_COLOURS[part],
                    "symbol": _PART_SYMBOLS[part],
                    "size": 8 if rows.size < 500 else 4,
                    "opacity": 0.75,
                },
                "hoverinfo": "none",
                "customdata": [[place_of.get(row, -1), names.get(row, "")] for row in of],
            }
        )
    return _chart(
        traces,
        f"Predicted against computed {label}; on the line they agree",
        440,
        xaxis={"title": f"computed {label}"},
        yaxis={"title": f"predicted {label}"},
    )


def distribution(computed: Computed, place_of: dict[int, int], names: dict[int, str]) -> Chart:
    """How the values of a property are distributed, molecules far out as points."""
    values = computed.values[np.isfinite(computed.values)]
    counts, edges = np.histogram(values, bins=min(_BINS, max(5, int(np.sqrt(values.size) * 2))))
    middle, width = (edges[:-1] + edges[1:]) / 2, np.diff(edges)
    traces: list[Chart] = [
        {"type": "bar", "x": _digits(middle), "y": counts.tolist(), "width": _digits(width),
         "marker": {"color": BLUE}, "showlegend": False,
         "hovertemplate": "%{y:,} molecules about %{x:.4g}<extra></extra>"}
    ]  # fmt: skip
    far = list(computed.outliers)
    if far:
        traces.append(
            {"type": "scatter", "mode": "markers", "name": "far from the rest", "showlegend": False,
             "x": _digits(computed.values[far]), "y": [0] * len(far), "hoverinfo": "none",
             "cliponaxis": False,
             "marker": {"color": VERMILLION, "symbol": "diamond", "size": 10},
             "customdata": [[place_of.get(row, -1), names[row]] for row in far]}
        )  # fmt: skip
    label = _with_unit(computed.quantity, computed.unit)
    return _chart(
        traces,
        f"Distribution of {label}: {number(float(values.min()))} to {number(float(values.max()))}",
        230,
        xaxis={"title": label},
        yaxis={"title": "molecules", "rangemode": "tozero"},
        bargap=0.04,
    )


def training_curve(curve: Curve, baseline: float | None) -> Chart:
    """Validation error, and below it the training loss, by epoch."""
    best = int(np.nanargmin(curve.validation_mae))
    logarithmic = bool(np.nanmin(curve.validation_mae) > 0 and np.nanmin(curve.loss) > 0)
    lines = ((curve.validation_mae, "validation MAE", BLUE, "y"),
             (curve.loss, "training loss (scaled errors)", GREEN, "y2"))  # fmt: skip
    traces: list[Chart] = [
        {"type": "scatter", "mode": "lines", "name": name, "x": curve.epochs.tolist(),
         "y": _digits(values), "yaxis": axis, "line": {"color": colour, "width": 2}}
        for values, name, colour, axis in lines
    ]  # fmt: skip
    kept = {"x": [int(curve.epochs[best])], "y": _digits(curve.validation_mae[[best]])}
    traces.append(
        {"type": "scatter", "mode": "markers", "name": "weights kept", **kept,
         "marker": {"color": BLUE, "size": 9}}
    )  # fmt: skip
    if baseline is not None and baseline > 0:
        ends = [int(curve.epochs[0]), int(curve.epochs[-1])]
        traces.append(
            {"type": "scatter", "mode": "lines", "name": "mean predictor", "x": ends,
             "y": [baseline] * 2, "line": {"color": FAINT, "dash": "dash"}}
        )  # fmt: skip
    kind = {"type": "log"} if logarithmic else {}
    return _chart(
        traces,
        f"Validation error by epoch: {number(float(curve.validation_mae[best]))} {curve.unit} at "
        f"epoch {curve.epochs[best]}",
        440,
        xaxis={"title": "epoch", "anchor": "y2"},
        yaxis={"title": f"MAE / {curve.unit}", "domain": [0.46, 1], **kind},
        yaxis2={"title": "loss", "domain": [0, 0.36], **kind},
    )


def residual_boxes(residuals: Residuals) -> Chart:
    """A box for each kind of molecules: quartiles, and the 5th and 95th percentile."""
    names = list(residuals.kinds)
    ends = [np.percentile(of, [5, 25, 50, 75, 95]) for of in residuals.kinds.values()]
    low, q1, median, q3, high = np.array(ends).reshape(-1, 5).T
    labels = [f"{plain(n)} ({len(of):,})" for n, of in residuals.kinds.items()]
    traces: list[Chart] = [
        {"type": "box", "x": labels, "q1": _digits(q1), "median": _digits(median),
         "q3": _digits(q3), "lowerfence": _digits(low), "upperfence": _digits(high),
         "marker": {"color": BLUE}, "showlegend": False}
    ]  # fmt: skip
    return _chart(
        traces,
        f"Errors by {residuals.title}: {', '.join(names)}",
        300,
        xaxis={"title": residuals.title, "type": "category"},
        yaxis={"title": f"predicted − computed / {residuals.unit}", "zeroline": True},
    )


def learning_curve(curve: LearningCurve) -> Chart:
    """Test error over training molecules, simpler predictors as points beside the network."""
    traces: list[Chart] = [
        {"type": "scatter", "mode": "lines+markers", "name": "the network",
         "x": curve.rows.tolist(), "y": _digits(curve.test_mae),
         "line": {"color": BLUE}, "marker": {"size": 8}}
    ]  # fmt: skip
    for place, (name, (rows, mae)) in enumerate(curve.baselines.items(), 1):
        colour, symbol = SERIES[place % len(SERIES)], _SYMBOLS[place % len(_SYMBOLS)]
        traces.append(
            {"type": "scatter", "mode": "markers", "name": plain(name), "x": [rows], "y": [mae],
             "marker": {"color": colour, "symbol": symbol, "size": 10}}
        )  # fmt: skip
    return _chart(
        traces,
        "Test error over the number of training molecules",
        380,
        xaxis={"title": "training molecules", "type": "log"},
        yaxis={"title": f"test MAE / {curve.unit}", "type": "log"},
    )


def stage_times(seconds: dict[str, float]) -> Chart:
    """Wall time of each stage."""
    told = [duration(value) for value in seconds.values()]
    traces: list[Chart] = [
        {"type": "bar", "orientation": "h", "y": [plain(stage) for stage in seconds],
         "x": list(seconds.values()), "text": told, "textposition": "outside",
         "cliponaxis": False, "marker": {"color": BLUE}, "hoverinfo": "skip"}
    ]  # fmt: skip
    words = ", ".join(f"{s} {t}" for s, t in zip(seconds, told, strict=True))
    return _chart(
        traces,
        f"Wall time of each stage: {words}",
        90 + 32 * len(seconds),
        xaxis={"title": "seconds", "range": [0, 1.2 * max([*seconds.values(), 1e-9])]},
        yaxis={"autorange": "reversed", "automargin": True},
    )


def utilization(used: Utilization) -> Chart:
    """A row for each rank: where its time went into calculations."""
    middle = (used.edges[:-1] + used.edges[1:]) / 2
    unit, scale = ("hours", 3600.0) if used.edges[-1] > 7200 else ("seconds", 1.0)
    traces: list[Chart] = [
        {"type": "heatmap", "x": _digits(middle / scale), "y": list(used.ranks),
         "z": [np.round(100 * row).astype(int).tolist() for row in used.busy],
         "zmin": 0, "zmax": 100, "colorscale": [[0, "rgba(0,114,178,0.06)"], [1, BLUE]],
         "colorbar": {"title": {"text": "% busy"}, "thickness": 10, "len": 1.0},
         "hovertemplate": f"%{{y}}, %{{x:.3g}} {unit}: %{{z}} % busy<extra></extra>"}
    ]  # fmt: skip
    share = float(used.busy.mean())
    return _chart(
        traces,
        f"Ranks over time: {share:.0%} of their time inside calculations",
        130 + min(14 * max(len(used.ranks), 3), 500),
        xaxis={"title": f"{unit} of generate", "showgrid": False},
        yaxis={"autorange": "reversed", "automargin": True, "showgrid": False},
    )


def causes(counts: Sequence[tuple[str, int]]) -> Chart:
    """Failures by cause."""
    traces: list[Chart] = [
        {"type": "bar", "orientation": "h", "y": [plain(cause) for cause, _ in counts],
         "x": [count for _, count in counts], "marker": {"color": VERMILLION},
         "text": [f"{count:,}" for _, count in counts], "textposition": "outside",
         "cliponaxis": False, "hoverinfo": "skip"}
    ]  # fmt: skip
    words = ", ".join(f"{cause} {count:,}" for cause, count in counts)
    return _chart(
        traces,
        f"Failures by cause: {words}",
        90 + 32 * len(counts),
        xaxis={"title": "molecules", "range": [0, 1.2 * max(count for _, count in counts)]},
        yaxis={"autorange": "reversed", "automargin": True},
    )


def ledger(table: Table, unit: str) -> Chart:
    """Where the predictions went on average: to atoms, and to each term of the ledger."""
    names, values = zip(*table.bars, strict=True)
    colours = [FAINT if name == "prediction" else BLUE for name in names]
    traces: list[Chart] = [
        {"type": "bar", "orientation": "h", "y": list(names), "x": list(values),
         "text": [number(value) for value in values], "textposition": "auto",
         "marker": {"color": colours}, "hoverinfo": "skip"}
    ]  # fmt: skip
    words = ", ".join(f"{n} {number(v)}" for n, v in table.bars)
    return _chart(
        traces,
        f"Mean over molecules: {words}",
        90 + 32 * len(names),
        xaxis={"title": _with_unit("mean", unit), "zeroline": True},
        yaxis={"autorange": "reversed", "automargin": True},
    )


def cancellation(values: NDArray[np.float64], limit: float) -> Chart:
    """How far explanations cancel: parts over their sum, on a logarithmic scale.

    Parameters
    ----------
    values : (N,) array
        At least 1.
    limit : float
        From which on an explanation is mostly cancellation.
    """
    values = values[~np.isnan(values)]
    known = np.log10(values[np.isfinite(values)])
    end = max(float(known.max(initial=0.0)), 1.2)
    counts, edges = np.histogram(known, bins=_BINS, range=(0.0, end))
    middle = 10 ** ((edges[:-1] + edges[1:]) / 2)
    beyond = float((values >= limit).mean())
    traces: list[Chart] = [
        {"type": "bar", "x": _digits(middle), "y": counts.tolist(),
         "width": _digits(np.diff(10**edges)), "marker": {"color": BLUE}, "showlegend": False,
         "hovertemplate": "%{y:,} molecules about %{x:.3g}<extra></extra>"}
    ]  # fmt: skip
    return _chart(
        traces,
        f"Cancellation: median {np.median(values):.3g}, {beyond:.0%} of the molecules at {limit:g} "
        "or beyond",
        300,
        xaxis={"title": "sum of |parts| / |sum|", "type": "log"},
        yaxis={"title": "molecules"},
        shapes=[{"type": "line", "x0": limit, "x1": limit, "yref": "paper", "y0": 0, "y1": 1,
                 "line": {"color": VERMILLION, "dash": "dash", "width": 1.5}}],
    )  # fmt: skip


def reasons(found: Reasons) -> Chart:
    """The reasons score beside its controls and ceilings, each with its interval."""
    looks = {"network": (VERMILLION, "diamond"), "control": (FAINT, "circle"),
             "ceiling": (BLUE, "square")}  # fmt: skip
    traces: list[Chart] = []
    for kind, (colour, symbol) in looks.items():
        lines = [line for line in found.lines if line.kind == kind and np.isfinite(line.score)]
        if not lines:
            continue
        ends = [
            [_or_none(line.high - line.score), _or_none(line.score - line.low)] for line in lines
        ]
        traces.append(
            {"type": "scatter", "mode": "markers", "name": kind,
             "x": [line.score for line in lines], "y": [plain(line.name) for line in lines],
             "error_x": {"type": "data", "symmetric": False, "array": [high for high, _ in ends],
                         "arrayminus": [low for _, low in ends], "color": colour},
             "marker": {"color": colour, "symbol": symbol, "size": 10},
             "hovertemplate": "%{y}: %{x:.2f}<extra></extra>"}
        )  # fmt: skip
    words = "; ".join(f"{line.kind} {line.name} {number(line.score, 2)}" for line in found.lines)
    return _chart(
        traces,
        f"Reasons score, {found.part}: {words}",
        120 + 30 * len(found.lines),
        xaxis={"title": f"reasons score ({found.part}), 95 % intervals", "zeroline": True},
        yaxis={"autorange": "reversed", "automargin": True},
    )


def averages(kinds: Averages) -> Chart:
    """Mean relevance of each kind with its spread, and its share where it is known."""
    names = [f"{plain(n)} ({c:,})" for n, c in zip(kinds.names, kinds.counts, strict=True)]
    traces: list[Chart] = [
        {"type": "scatter", "mode": "markers", "name": "relevance (mean, standard deviation)",
         "x": _digits(kinds.mean), "y": names, "marker": {"color": VERMILLION, "size": 9},
         "error_x": {"type": "data", "array": _digits(kinds.spread), "color": VERMILLION}}
    ]  # fmt: skip
    if kinds.shares is not None:
        traces.append(
            {"type": "scatter", "mode": "markers", "name": "share of the physics",
             "x": _digits(kinds.shares), "y": names,
             "marker": {"color": BLUE, "symbol": "diamond-open", "size": 10}}
        )  # fmt: skip
    return _chart(
        traces,
        f"{kinds.title}: mean relevance of each kind",
        130 + 26 * len(names),
        xaxis={"title": _with_unit(f"mean per {kinds.per}", kinds.unit), "zeroline": True},
        yaxis={"autorange": "reversed", "automargin": True},
    )


def removal_curves(removal: Removal) -> Chart:
    """Mean change of the prediction by the part of the atoms taken away, with its interval."""
    traces: list[Chart] = []
    x = _digits(removal.fraction)
    for (order, (change, low, high)), colour in zip(
        removal.curves.items(), (VERMILLION, BLUE, FAINT), strict=True
    ):
        outline = {"type": "scatter", "mode": "lines", "x": x + x[::-1], "hoverinfo": "skip",
                   "y": _digits(high) + _digits(low)[::-1], "fill": "toself", "opacity": 0.2,
                   "line": {"width": 0}, "fillcolor": colour, "showlegend": False}  # fmt: skip
        traces += [outline, {"type": "scatter", "mode": "lines", "name": order, "x": x,
                             "y": _digits(change), "line": {"color": colour}}]  # fmt: skip
    return _chart(
        traces,
        "Change of the prediction while atoms are taken away",
        380,
        xaxis={"title": "part of the atoms taken away", "range": [0, 1]},
        yaxis={"title": _with_unit("change of the prediction", removal.unit)},
    )


def directions(level: Carried) -> Chart:
    """Adjusted R2 of each leading direction of a level by each label."""
    heads = [f"{place}<br>{share:.0%}" for place, share in enumerate(level.shares, 1)]
    values = np.array([r2 for _, r2 in level.labels]).reshape(-1, len(level.shares))
    shown = [[f"{value:.2f}" if value >= 0.1 else "" for value in row] for row in values]
    traces: list[Chart] = [
        {"type": "heatmap", "x": heads, "y": [plain(name) for name, _ in level.labels],
         "z": np.round(values, 3).tolist(), "zmin": 0, "zmax": 1, "text": shown,
         "texttemplate": "%{text}", "colorscale": [[0, "rgba(86,180,233,0)"], [1, "#56b4e9"]],
         "showscale": False, "hovertemplate": "%{y}: R² %{z}<extra></extra>"}
    ]  # fmt: skip
    return _chart(
        traces,
        f"{level.level} ({level.vectors:,}): R² of the leading directions by each label",
        130 + 24 * len(level.labels),
        xaxis={"title": "direction, and its share of the variance", "type": "category"},
        yaxis={"autorange": "reversed", "automargin": True},
    )


def _chart(traces: list[Chart], alt: str, height: int, **layout: Any) -> Chart:
    for name, axis in layout.items():
        if name.startswith(("xaxis", "yaxis")) and "title" in axis:
            layout[name] = {"automargin": True, **axis, "title": {"text": plain(axis["title"])}}
    return {"data": traces, "layout": {"height": height, **layout}, "alt": alt}


def _digits(values: NDArray[np.float64]) -> list[float | None]:
    """Six significant digits, and null where there is no number."""
    return [float(f"{value:.6g}") if np.isfinite(value) else None for value in values.tolist()]


def _or_none(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _with_unit(quantity: str, unit: str) -> str:
    return f"{quantity}, {unit}" if unit else quantity
