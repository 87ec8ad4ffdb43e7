"""Five pictures of a study, from the lines of its tables."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from hpcml.report.style import BLUE, FAINT, GREEN, VERMILLION, figure, plain_numbers, styled
from hpcml.study.cells import NETWORK
from hpcml.study.claim import residuals
from hpcml.study.study_tables import Line, Lines, grouped, headline, largest

# Okabe and Ito's colours, which stay apart for colour-blind eyes; a marker each says it again.
_COLOURS = (BLUE, VERMILLION, GREEN, "#cc79a7", "#e69f00", "#56b4e9", "#7f8896", "#000000",
            "#f0e442")  # fmt: skip
_MARKERS = ("o", "s", "D", "^", "v", "P", "X", "*", "<")
_WIDTH, _HEIGHT = 4.4, 3.4


def study_figures(tables: dict[str, Lines]) -> dict[str, bytes]:
    """Name -> SVG, of the tables by name; a picture of what the study did not ask is left out."""
    drawn = {
        "scores": _scores(tables["seeds"]),
        "attributions": _attributions(tables["seeds"]),
        "controls": _controls(tables["seeds"], tables["controls"]),
        "causal": _causal(tables["causal"]),
        "claim": _claim(tables["grid"], tables["claim"]),
    }
    return {name: _svg(made, name) for name, made in drawn.items() if made is not None}


def _svg(drawn: Figure, name: str) -> bytes:
    buffer = io.BytesIO()
    with styled(name):
        drawn.savefig(
            buffer,
            format="svg",
            facecolor="white",
            metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")),
        )
    return buffer.getvalue()


def _panels(titles: Sequence[str], name: str, height: float = _HEIGHT) -> tuple[Figure, list[Axes]]:
    with styled(name):
        made = figure(_WIDTH * len(titles), height)
        axes = list(made.subplots(1, len(titles), squeeze=False)[0])
        for axis, title in zip(axes, titles, strict=True):
            axis.set_title(title)
            axis.grid(True)
    return made, axes


def _looks(names: Sequence[str]) -> dict[str, tuple[str, str]]:
    """A colour and a marker for each."""
    return {
        name: (_COLOURS[number % len(_COLOURS)], _MARKERS[number % len(_MARKERS)])
        for number, name in enumerate(names)
    }


def _at_home(lines: Lines) -> Lines:
    """Trained networks, no auxiliary targets, test molecules of each property's first split."""
    first: dict[str, str] = {}
    for one in lines:
        first.setdefault(one["target"], one["split"])
    return [
        one
        for one in lines
        if one["split"] == first[one["target"]]
        and one["kind"] == NETWORK
        and not one["share_weight"]
        and one["set"] == "test"
    ]


def _targets(lines: Lines) -> list[str]:
    return list(dict.fromkeys(str(one["target"]) for one in lines))


# ------------------------------------------------------------------------------- pictures


def _scores(seeds: Lines) -> Figure | None:
    """Reasons score against error, a line a network through its training sizes."""
    lines = [one for one in _at_home(seeds) if one["attribution"] == headline(seeds)]
    lines = [one for one in lines if None not in {one["mae_mean"], one["score_mean"]}]
    if not lines:
        return None
    targets = _targets(lines)
    made, axes = _panels(targets, "scores")
    looks = _looks(list(dict.fromkeys(one["network"] for one in seeds)))
    with styled("scores"):
        for axis, target in zip(axes, targets, strict=True):
            mine = [one for one in lines if one["target"] == target]
            by_size = sorted(mine, key=lambda one: one["train_rows"])
            for (network,), same in grouped(by_size, ("network",)).items():
                colour, marker = looks[str(network)]
                axis.errorbar(
                    [one["mae_mean"] for one in same],
                    [one["score_mean"] for one in same],
                    xerr=[one["mae_sd"] or 0.0 for one in same],
                    yerr=[one["score_sd"] or 0.0 for one in same],
                    color=colour,
                    marker=marker,
                    elinewidth=0.7,
                    label=str(network),
                )
            axis.set_xscale("log")
            axis.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            axis.xaxis.set_minor_locator(NullLocator())
            plain_numbers(axis)
            axis.set_xlabel(f"test MAE / {mine[0]['unit']} (spread over seeds)")
            axis.set_ylabel(f"score ({headline(seeds)})")
        _legend_below(made, axes)
    return made


def _attributions(seeds: Lines) -> Figure | None:
    """The score by attribution, for each network at its largest training size."""
    lines = [one for one in _at_home(seeds) if one["score_mean"] is not None]
    if not lines:
        return None
    targets = _targets(lines)
    made, axes = _panels(targets, "attributions")
    names = list(dict.fromkeys(str(one["attribution"]) for one in lines))
    looks = _looks(names)
    networks = list(dict.fromkeys(str(one["network"]) for one in lines))
    spacing = 0.8 / len(names)
    with styled("attributions"):
        for axis, target in zip(axes, targets, strict=True):
            for name in names:
                mine = [
                    one for one in lines if one["target"] == target and one["attribution"] == name
                ]
                mine = largest(mine, ("network",))
                shift = (names.index(name) - (len(names) - 1) / 2.0) * spacing
                colour, marker = looks[name]
                axis.errorbar(
                    [networks.index(str(one["network"])) + shift for one in mine],
                    [one["score_mean"] for one in mine],
                    yerr=[one["score_sd"] or 0.0 for one in mine],
                    color=colour,
                    marker=marker,
                    linestyle="none",
                    label=name,
                )
            axis.set_xticks(range(len(networks)), networks, fontsize=8)
            axis.set_ylabel("reasons score, composition removed")
        _legend_below(made, axes)
    return made


def _legend_below(made: Figure, axes: Sequence[Axes]) -> None:
    """One for all panels, where it hides nothing."""
    known: dict[str, Artist] = {}
    for axis in axes:
        handles, labels = axis.get_legend_handles_labels()
        known |= {str(label): handle for label, handle in zip(labels, handles, strict=True)}
    made.legend(
        list(known.values()), list(known), loc="outside lower center", ncols=len(known), fontsize=8
    )


def _controls(seeds: Lines, controls: Lines) -> Figure | None:
    """Networks beside what their score has to be held against."""
    name = headline(seeds)
    trained = [one for one in _at_home(seeds) if one["attribution"] == name]
    if not trained or not controls:
        return None
    splits = {one["target"]: one["split"] for one in trained}
    targets = _targets(trained)
    made, axes = _panels(targets, "controls", height=5.2)
    with styled("controls"):
        for axis, target in zip(axes, targets, strict=True):
            rows: list[tuple[str, Line, str]] = [
                (
                    f"{one['network']}, trained",
                    {
                        "score": one["score_mean"],
                        "low": _less(one["score_mean"], one["score_half_interval"], -1.0),
                        "high": _less(one["score_mean"], one["score_half_interval"], 1.0),
                    },
                    BLUE,
                )
                for one in largest(
                    [one for one in trained if one["target"] == target], ("network",)
                )
            ]
            for one in controls:
                if (one["target"], one["split"], one["set"]) != (target, splits[target], "test"):
                    continue
                if one["attribution"] not in {"", name}:
                    continue
                words = str(one["control"])
                if one["network"]:
                    short = "first weights" if "untrained" in words else "shuffled values"
                    words = f"{one['network']}, {short}"
                rows.append((words, one, VERMILLION if one["network"] else FAINT))
            _rows(axis, [row for row in rows if row[1]["score"] is not None])
            axis.set_xlabel(f"score ({name}), 95 %")
    return made


def _less(mean: float | None, half: float | None, sign: float) -> float | None:
    return None if mean is None or half is None else mean + sign * half


def _rows(axis: Axes, rows: Sequence[tuple[str, Line, str]]) -> None:
    """A dot and its interval a row, from above."""
    for number, (_, one, colour) in enumerate(rows):
        score = float(one["score"])
        if one["low"] is not None and one["high"] is not None:
            axis.plot([one["low"], one["high"]], [-number, -number], color=colour, linewidth=1.2)
        axis.plot([score], [-number], color=colour, marker="o", markersize=4)
    axis.axvline(0.0, color=FAINT, linewidth=0.8)
    axis.set_yticks([-number for number in range(len(rows))], [row[0] for row in rows], fontsize=7)


def _causal(causal: Lines) -> Figure | None:
    """What the shares as auxiliary targets change, with intervals over the pairs of seeds: on test
    molecules, and on those of another kind."""
    lines = [one for one in causal if one["quantity"] == "mae" and one["relative"] is not None]
    lines = [one for one in lines if one["set"] != "validation" and "/" not in str(one["set"])]
    if not lines:
        return None
    lines = largest(lines, ("target", "network", "split"))
    by_target = {target: [one for one in lines if one["target"] == target]
                 for target in _targets(lines)}  # fmt: skip
    most = max(len(mine) for mine in by_target.values())
    made, axes = _panels(list(by_target), "causal", height=1.0 + 0.16 * most)
    with styled("causal"):
        for axis, mine in zip(axes, by_target.values(), strict=True):
            rows = [
                (
                    f"{one['network']}, {one['split']}: {one['set']}",
                    {
                        "score": 100.0 * one["relative"],
                        "low": _percent(one, "low"),
                        "high": _percent(one, "high"),
                    },
                    VERMILLION if one["role"] == "out" else BLUE,
                )
                for one in mine
            ]
            _rows(axis, rows)
            axis.set_xlabel("change of the MAE, % (95 %)")
    return made


def _percent(one: Line, column: str) -> float | None:
    return None if one[column] is None else 100.0 * one[column] / one["without"]


def _claim(grid: Lines, claim: Lines) -> Figure | None:
    """Transfer error against score, both less what the error at home says of their ranks."""
    name = headline(grid)
    left = residuals(grid, name)
    if not left:
        return None
    targets = _targets(left)
    made, axes = _panels(targets, "claim")
    looks = _looks(list(dict.fromkeys(str(one["network"]) for one in grid)))
    with styled("claim"):
        for axis, target in zip(axes, targets, strict=True):
            mine = [one for one in left if one["target"] == target]
            for (network,), same in grouped(mine, ("network",)).items():
                colour, marker = looks[str(network)]
                axis.plot(
                    [one["score"] for one in same],
                    [one["error"] for one in same],
                    color=colour,
                    marker=marker,
                    markersize=3.5,
                    linestyle="none",
                    label=str(network),
                )
            axis.set_xlabel(f"rank of the score ({name})")
            axis.set_ylabel("rank of the transfer error")
            axis.set_title(f"{target}: {_told(claim, name, target)}")
        _legend_below(made, axes)
    return made


def _told(claim: Lines, attribution: str, target: str) -> str:
    for one in claim:
        same = (one["attribution"], one["targets"], one["score"], one["scope"])
        if same == (attribution, target, "score", "between networks"):
            if one["partial"] is None or one["p"] is None:
                return "no test"
            return f"partial {np.round(one['partial'], 2):g}, p {one['p']:.2g}"
    return ""
