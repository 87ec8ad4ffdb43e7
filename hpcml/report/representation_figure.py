"""Pictures of representation tables: what each direction carries, and who stands at its ends."""

from __future__ import annotations

import html
from collections.abc import Sequence

import numpy as np
from matplotlib.colors import LinearSegmentedColormap

from hpcml.analysis.representation_tables import End, LevelAnalysis
from hpcml.report.drawings import molecule_drawing
from hpcml.report.facts import Carried
from hpcml.report.style import BLUE, FAINT, INK, figure, styled, to_svg
from hpcml.store import Dataset

LEAST_WRITTEN = 0.1  # of R2: less is coloured alone
DRAWN_DIRECTIONS = 4
_WIDTH, _HEIGHT, _CAPTION, _MARGIN = 190, 150, 34, 96  # pixels of a drawing and around it
_FULL_COLOUR = 2.5  # standard deviations


def direction_figure(levels: Sequence[Carried], name: str = "representations") -> str:
    """Adjusted R2 of each leading direction by each label, a panel a level, as SVG text."""
    with styled(name):
        drawn = figure(4.9 * len(levels), 1.4 + 0.24 * max(len(one.labels) for one in levels))
        panels = drawn.subplots(1, len(levels), squeeze=False)[0]
        colours = LinearSegmentedColormap.from_list("r2", ["#ffffff00", BLUE])
        for axes, level in zip(panels, levels, strict=True):
            values = np.array([r2 for _, r2 in level.labels]).reshape(-1, len(level.shares))
            if len(values):
                axes.pcolormesh(values, cmap=colours, vmin=0.0, vmax=1.0, edgecolors="none")
            for place in np.argwhere(values >= LEAST_WRITTEN):
                value = values[tuple(place)]
                axes.text(
                    place[1] + 0.5, place[0] + 0.5, f"{value:.2f}".lstrip("0"), fontsize=7,
                    ha="center", va="center", color="white" if value > 0.6 else INK,
                )  # fmt: skip
            names = [label for label, _ in level.labels]
            axes.set_yticks(np.arange(len(names)) + 0.5, names, fontsize=8)
            heads = [f"{number}\n{share:.0%}" for number, share in enumerate(level.shares, 1)]
            axes.set_xticks(np.arange(len(heads)) + 0.5, heads, fontsize=8)
            axes.set_xlim(0, len(heads))
            axes.set_ylim(max(len(names), 1), 0)
            axes.tick_params(length=0)
            axes.set_title(f"{level.level} ({level.vectors:,})")
            axes.set_xlabel("direction, and its share of the variance")
            for spine in axes.spines.values():
                spine.set_color(FAINT)
        said = "Share of the variance along each direction that each label explains"
        return to_svg(drawn, name, said)


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
