"""Pictures of representation tables: what each direction carries, and who stands at its ends."""

from __future__ import annotations

import html
from collections.abc import Sequence

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from numpy.typing import NDArray

from hpcml.analysis.analyze_stage import Table
from hpcml.analysis.representation_tables import End, LevelAnalysis
from hpcml.report.drawings import molecule_drawing
from hpcml.report.style import BLUE, FAINT, INK, figure, styled, to_svg
from hpcml.store import Dataset

MOST_LABELS = 22  # in the figure, those that explain most of some direction
DRAWN_DIRECTIONS = 4
_LEAST = 0.1  # of R2: labels that explain less of every direction are not shown
_WIDTH, _HEIGHT, _CAPTION, _MARGIN = 190, 150, 34, 96  # pixels of a drawing and around it
_FULL_COLOUR = 2.5  # standard deviations


def direction_figure(levels: Sequence[LevelAnalysis], name: str = "representations") -> str:
    """Adjusted R2 of each leading direction by each label, a panel a level, as SVG text.

    Shown are the 22 labels that explain most of some direction.
    """
    shown = [(level, *_matrix(level.labels)) for level in levels]
    with styled(name):
        drawn = figure(4.9 * len(shown), 1.3 + 0.24 * max(len(names) for _, names, _ in shown))
        panels = drawn.subplots(1, len(shown), squeeze=False)[0]
        colours = LinearSegmentedColormap.from_list("r2", ["#ffffff00", BLUE])
        for axes, (level, names, values) in zip(panels, shown, strict=True):
            axes.pcolormesh(values, cmap=colours, vmin=0.0, vmax=1.0, edgecolors="none")
            for place in np.argwhere(values >= 0.1):
                value = values[tuple(place)]
                axes.text(
                    place[1] + 0.5, place[0] + 0.5, f"{value:.2f}".lstrip("0"), fontsize=7,
                    ha="center", va="center", color="white" if value > 0.6 else INK,
                )  # fmt: skip
            axes.set_yticks(np.arange(len(names)) + 0.5, names, fontsize=8)
            shares = level.directions.share[: values.shape[1]]
            heads = [f"{number}\n{share:.0%}" for number, share in enumerate(shares, 1)]
            axes.set_xticks(np.arange(len(heads)) + 0.5, heads, fontsize=8)
            axes.set_ylim(len(names), 0)
            axes.tick_params(length=0)
            axes.set_title(f"{level.level} ({level.directions.rows:,})")
            axes.set_xlabel("direction, and its share of the variance")
            for spine in axes.spines.values():
                spine.set_color(FAINT)
        said = "Share of the variance along each direction that each label explains"
        return to_svg(drawn, name, said)


def _matrix(table: Table) -> tuple[list[str], NDArray[np.float64]]:
    """Names of the labels to show, in the table's order, and R2: (labels, directions)."""
    names = list(dict.fromkeys(str(line["label"]) for line in table))
    most = max((int(str(line["direction"])) for line in table), default=1)
    values = np.zeros((len(names), most))
    for line in table:
        place = names.index(str(line["label"])), int(str(line["direction"])) - 1
        values[place] = max(float(str(line["r2"])), 0.0)
    best = values.max(axis=1, initial=0.0)
    chosen = np.sort(np.argsort(-best, kind="stable")[:MOST_LABELS])
    chosen = chosen[best[chosen] >= _LEAST]
    return [names[row] for row in chosen], values[chosen]


def ends_drawing(dataset: Dataset, level: LevelAnalysis, name: str = "ends") -> str:
    """The molecules at both ends of the first four directions, as one SVG text.

    Of directions of atoms each atom is coloured by where it stands: vermillion high, blue low,
    full from 2.5 standard deviations on.
    """
    rows: dict[int, dict[str, list[End]]] = {}
    for end in level.ends:
        if end.direction <= DRAWN_DIRECTIONS:
            rows.setdefault(end.direction, {"low": [], "high": []})[end.side].append(end)
    most = max((len(of) for sides in rows.values() for of in sides.values()), default=0)
    width = _MARGIN + 2 * most * _WIDTH
    height = len(rows) * (_HEIGHT + _CAPTION)
    parts = []
    for line, (direction, sides) in enumerate(rows.items()):
        y = line * (_HEIGHT + _CAPTION)
        share = level.directions.share[direction - 1]
        parts.append(_text(4, y + _HEIGHT / 2, f"direction {direction}", "start"))
        parts.append(_text(4, y + _HEIGHT / 2 + 15, f"{share:.0%}", "start"))
        for side, begin in (("low", 0), ("high", most)):
            for place, end in enumerate(sides[side]):
                x = _MARGIN + (begin + place) * _WIDTH
                ids = f"{name}-{direction}-{side}-{place}"
                parts.append(f'<g transform="translate({x} {y})">{_drawn(dataset, end, ids)}</g>')
                caption = f"{side}, {end.score:+.1f}"
                parts.append(_text(x + _WIDTH / 2, y + _HEIGHT + 14, caption, "middle"))
    said = f"Molecules at both ends of the leading directions of {level.level}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{said}" '
        f'width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'font-family="sans-serif" font-size="12">{"".join(parts)}</svg>'
    )


def _drawn(dataset: Dataset, end: End, name: str) -> str:
    molecule = dataset.molecules[end.row]
    values = end.scores if len(end.scores) else np.zeros(len(molecule))
    return molecule_drawing(
        molecule,
        values,
        _FULL_COLOUR,
        unit="standard deviations",
        name=name,
        width=_WIDTH,
        height=_HEIGHT,
    )


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return (
        f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" fill="currentColor">'
        f"{html.escape(text)}</text>"
    )
