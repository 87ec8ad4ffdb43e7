"""The figure of weights.csv: singular values of each layer, in units of the random-matrix edge."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.ticker import FuncFormatter

from hpcml.analysis.weight_spectra import Spectrum
from hpcml.report.style import BLUE, FAINT, INK, VERMILLION, figure, styled, to_svg

MOST_LAYERS = 40  # more make the figure longer than a page
LEAST = 0.02  # of the edge: singular values below it are not drawn


def weight_figure(spectra: Mapping[str, Spectrum], name: str = "weights") -> str:
    """Trained above first singular values, a row a layer, as SVG text.

    The edge is that of the first weights' size, and a bar shows that of the trained ones; of
    layers that begin at zero the latter is the unit, and their names have a star.  Of more than
    40 layers the first 40 are drawn, and of singular values those above a fiftieth of the edge.
    """
    shown = dict(list(spectra.items())[:MOST_LAYERS])
    labels = [layer + (" *" if one.begins_at_zero else "") for layer, one in shown.items()]
    with styled():
        drawn = figure(6.4, 1.2 + 0.26 * len(shown))
        axes = drawn.subplots()
        axes.axvline(1.0, color=INK, linewidth=1.0, linestyle=(0, (4, 3)))
        for place, one in enumerate(shown.values()):
            limit = (one.own_limit if one.begins_at_zero else one.limit) or 1.0
            rows = ((one.initial, -0.16, FAINT, "o", "first weights"),
                    (one.values, 0.16, VERMILLION, "D", "trained"))  # fmt: skip
            for values, shift, colour, marker, label in rows:
                drawn_values = values[values > LEAST * limit] / limit
                axes.scatter(
                    drawn_values,
                    [place - shift] * len(drawn_values),
                    s=9.0,
                    color=colour,
                    marker=marker,
                    alpha=0.75,
                    linewidths=0,
                    label=label if place == 0 else None,
                )
            own = "edge of the trained size" if place == 0 else None
            axes.plot(one.own_limit / limit, place - 0.16, "|", color=BLUE, ms=9, mew=2, label=own)
        axes.set_yticks(range(len(shown)), labels, fontsize=8)
        axes.set_ylim(len(shown) - 0.4, -0.6)
        axes.set_xscale("log")
        axes.set_xlim(left=LEAST)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.set_xlabel("singular value / random-matrix edge (99 % margin)")
        axes.grid(visible=True, axis="x")
        drawn.legend(loc="outside upper right", ncols=3)
        return to_svg(drawn, name, "Singular values of each layer against the random-matrix edge")
