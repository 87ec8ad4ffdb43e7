"""How figures look, and how they become SVG that stands in a page without disturbing it."""

from __future__ import annotations

import html
import io
import re
from contextlib import AbstractContextManager
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

INK = "#010203"  # stands for the page's own text colour, light or dark
FAINT = "#7f8896"
# Okabe and Ito's colours, which stay apart for colour-blind eyes (jfly.uni-koeln.de/color).
BLUE, VERMILLION, GREEN = "#0072b2", "#d55e00", "#009e73"
PART_COLOURS = {"train": FAINT, "validation": BLUE, "test": VERMILLION}
PART_MARKERS = {"train": "o", "validation": "s", "test": "D"}

_STYLE: Any = {  # Any: the keys' type is a list of all of matplotlib's settings
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "axes.facecolor": "none",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.formatter.use_mathtext": False,
    "figure.facecolor": "none",
    "grid.color": FAINT,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.handletextpad": 0.4,
    "lines.linewidth": 1.6,
    "text.color": INK,
    "text.parse_math": False,  # names and units come from files: no markup in them
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "svg.fonttype": "none",
}


def styled(name: str = "hpcml") -> AbstractContextManager[None]:
    """The settings under which figures are drawn and saved; ids in the SVG depend on ``name``."""
    return mpl.rc_context({**_STYLE, "svg.hashsalt": name})


def figure(width: float, height: float) -> Figure:
    """An empty figure, in inches; draw on it under ``styled()``."""
    made = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasSVG(made)
    return made


def to_svg(drawn: Figure, name: str, description: str) -> str:
    """A figure as one ``<svg>`` element, the same text each time for the same figure.

    name          prefix of every id in it, so that several may stand in one page
    description   read out in the figure's place by those who cannot see it
    """
    buffer = io.StringIO()
    with styled(name):
        drawn.savefig(
            buffer, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type"))
        )
    return embeddable(buffer.getvalue(), name, description)


def embeddable(text: str, name: str, description: str) -> str:
    """Cut an SVG document down to an element with ids of its own and the page's text colour."""
    text = text[text.index("<svg") :].strip()
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r"""\bid=(["'])""", rf"id=\1{name}-", text)
    text = text.replace("url(#", f"url(#{name}-").replace('href="#', f'href="#{name}-')
    text = text.replace(INK, "currentColor")
    spoken = html.escape(description)
    return text.replace("<svg", f'<svg role="img" aria-label="{spoken}"', 1)


def plain_numbers(axes: Axes) -> None:
    """Ticks as 0.01 and 300 rather than powers; minor ones labelled only where few decades are."""
    for axis in (axes.xaxis, axes.yaxis):
        if axis.get_scale() != "log":
            continue
        low, high = sorted(axis.get_view_interval())
        few = high / max(low, 1e-300) < 30
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(
            FuncFormatter(lambda value, _, few=few: _minor_label(value) if few else "")
        )


def _minor_label(value: float) -> str:
    return f"{value:g}" if f"{value:.0e}"[0] in "25" else ""
