"""One molecule for a paper: its atoms coloured by relevance, beside what the physics assigns."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from numpy.typing import NDArray
from rdkit import Chem

from hpcml.molecules import Molecule
from hpcml.report.drawings import NEGATIVE, POSITIVE, flat
from hpcml.report.paper_figures import WIDTHS, sheet

DIVERGING = LinearSegmentedColormap.from_list("relevance", [NEGATIVE, "#ffffff", POSITIVE])
_INCHES_OF_THE_BAR = 0.7  # and of the titles
_APART = 0.11  # of a bond's length, between the lines of a double bond


def relevance(
    molecule: Molecule,
    panels: dict[str, NDArray[np.float64]],
    unit: str,
    width: str = "single",
) -> Figure:
    """The molecule once for each panel, hydrogens and all, one scale of colours for all of them.

    Parameters
    ----------
    panels : title -> (n,) array
        A number for each atom, in ``unit``: above zero vermillion, below blue.
    """
    mol = flat(molecule)
    Chem.Kekulize(mol, clearAromaticFlags=True)
    limit = max(float(np.abs(values).max(initial=0.0)) for values in panels.values()) or 1.0
    places = mol.GetConformer().GetPositions()[:, :2]
    span = np.ptp(places, axis=0) + 2.0
    height = min(float(span[1] / span[0]) / len(panels), 1.2) + _INCHES_OF_THE_BAR / WIDTHS[width]
    drawn = sheet(width, height)
    every = list(drawn.subplots(1, len(panels), squeeze=False)[0])
    colours = ScalarMappable(Normalize(-limit, limit), DIVERGING)
    for axes, (title, values) in zip(every, panels.items(), strict=True):
        _draw(axes, mol, places, colours.to_rgba(values))
        axes.set_title(title, loc="center")
    bar = drawn.colorbar(colours, ax=every, orientation="horizontal", aspect=40, shrink=0.6)
    bar.set_label(f"of each atom / {unit}" if unit else "of each atom")
    return drawn


def _draw(
    axes: Axes, mol: Chem.Mol, places: NDArray[np.float64], colours: NDArray[np.float64]
) -> None:
    bonds = [(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()) for bond in mol.GetBonds()]
    lengths = [float(np.linalg.norm(places[i] - places[j])) for i, j in bonds]
    length = float(np.median(lengths)) if lengths else 1.0
    for (i, j), bond in zip(bonds, mol.GetBonds(), strict=True):
        along = (places[j] - places[i]) / max(float(np.linalg.norm(places[j] - places[i])), 1e-9)
        aside = np.array([-along[1], along[0]]) * _APART * length
        order = max(1, round(bond.GetBondTypeAsDouble()))
        for line in np.arange(order) - (order - 1) / 2:
            ends = np.array([places[i], places[j]]) + line * aside
            axes.plot(*ends.T, color="black", linewidth=0.8, zorder=1, solid_capstyle="round")
    for atom, place, colour in zip(mol.GetAtoms(), places, colours, strict=True):
        radius = (0.30 if atom.GetAtomicNum() == 1 else 0.38) * length
        axes.add_patch(Circle(tuple(place), radius, facecolor=colour, edgecolor="#00000055",
                              linewidth=0.4, zorder=2))  # fmt: skip
        charge = atom.GetFormalCharge()
        sign = "" if not charge else ("+" if charge > 0 else "\N{MINUS SIGN}")
        axes.text(
            float(place[0]),
            float(place[1]),
            atom.GetSymbol() + sign,
            ha="center",
            va="center",
            zorder=3,
        )
    axes.set_aspect("equal")
    axes.margins(0.05)
    axes.autoscale_view()
    axes.axis("off")
