"""Molecules drawn flat, each atom coloured by its relevance."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem
from rdkit.Chem import rdCoordGen, rdDepictor
from rdkit.Chem.Draw import rdMolDraw2D

from hpcml.molecules import Molecule, perceive
from hpcml.report.style import INK, embeddable

POSITIVE, NEGATIVE = "#c95600", "#1f7fc0"
"""Vermillion raises, blue lowers: apart for colour-blind eyes, and of one lightness (CIELAB's L* of
both is 51), so that neither side looks the stronger."""
_BOND_LENGTH = 30.0  # pixels, less where the molecule would not fit
_RDKIT_BOND_LENGTH = 1.5
_STRONGEST = 0.85  # opacity of the largest relevance, so that the element's letter stays legible


def molecule_drawing(
    molecule: Molecule,
    relevance: NDArray[np.float64],
    limit: float,
    *,
    unit: str,
    name: str,
    width: int = 230,
    height: int = 190,
) -> str:
    """An SVG of the molecule, hydrogens and all, with a disk behind every atom.

    Resting on an atom shows its number.

    Parameters
    ----------
    relevance : (n,) array
        In ``unit``: above zero vermillion, below blue, fading to nothing at zero.
    limit : float
        The relevance of full colour, above zero; the same for drawings to be compared.
    name : str
        Prefix of ids, unique in the page.
    """
    mol = flat(molecule)
    drawer = rdMolDraw2D.MolDraw2DSVG(width, height)
    options: Any = drawer.drawOptions()  # RDKit's type stubs get its members wrong
    options.clearBackground = False
    options.useBWAtomPalette()
    options.fixedBondLength = _BOND_LENGTH
    options.bondLineWidth = 1.6
    options.padding = 0.09
    rdMolDraw2D.PrepareAndDrawMolecule(drawer, mol)
    drawer.FinishDrawing()
    text = drawer.GetDrawingText().replace("#000000", INK)
    places = [drawer.GetDrawCoords(atom) for atom in range(len(molecule))]
    centres = np.array([[place.x, place.y] for place in places])
    radii = _radii(mol, centres)
    disks, spots = [], []
    for atom, element in enumerate(molecule.symbols):
        x, y = centres[atom]
        circle = f"<circle cx='{x:.1f}' cy='{y:.1f}' r='{radii[atom]:.1f}'"
        colour, opacity = relevance_colour(float(relevance[atom]), limit)
        disks.append(f"{circle} fill='{colour}' fill-opacity='{opacity:.3f}'/>")
        value = f"{element}{atom + 1}: {relevance[atom]:+.4g} {unit}"
        spots.append(f"{circle} fill-opacity='0'><title>{_escaped(value)}</title></circle>")
    head, body = text.split("<!-- END OF HEADER -->", 1)
    body = body.replace("</svg>", "".join(spots) + "</svg>")
    said = f"{molecule.formula}, atoms coloured by relevance"
    return embeddable(head + "".join(disks) + body, name, said)


def relevance_colour(relevance: float, limit: float) -> tuple[str, float]:
    """Colour and opacity of a relevance; beyond the limit the colour is full."""
    strength = min(abs(relevance) / limit, 1.0) if limit > 0 else 0.0
    return (POSITIVE if relevance > 0 else NEGATIVE), _STRONGEST * strength


def colour_scale(limit: float, unit: str, name: str = "scale") -> str:
    """The legend of ``molecule_drawing``: from -limit to +limit through nothing."""
    stops = "".join(
        f"<stop offset='{place:.0%}' stop-color='{colour}' stop-opacity='{opacity:.3f}'/>"
        for place, colour, opacity in (
            (0.0, NEGATIVE, _STRONGEST),
            (0.5, NEGATIVE, 0.0),
            (0.5, POSITIVE, 0.0),
            (1.0, POSITIVE, _STRONGEST),
        )
    )
    labels = "".join(
        f"<text x='{x}' y='34' text-anchor='{anchor}'>{_escaped(text)}</text>"
        for x, anchor, text in (
            (1, "start", f"\N{MINUS SIGN}{limit:.3g}"),
            (161, "middle", f"0 {unit}"),
            (321, "end", f"+{limit:.3g}"),
        )
    )
    return (
        f"<svg role='img' aria-label='Colours of relevance' width='322' height='40' "
        f"viewBox='0 0 322 40' xmlns='http://www.w3.org/2000/svg'><defs>"
        f"<linearGradient id='{name}-gradient'>{stops}</linearGradient></defs>"
        f"<rect x='1' y='4' width='320' height='14' rx='3' fill='url(#{name}-gradient)' "
        f"stroke='currentColor' stroke-opacity='0.35'/>"
        f"<g fill='currentColor' font-size='12'>{labels}</g></svg>"
    )


def flat(molecule: Molecule) -> Chem.Mol:
    """The molecule laid out in the plane; InputError where its bonds cannot be perceived.

    By CoordGen, which keeps hydrogens apart where RDKit's own layout lets them overlap; without
    wedges, which between the disks would hide more than they tell.
    """
    mol = Chem.Mol(perceive(molecule))
    mol.RemoveAllConformers()
    Chem.RemoveStereochemistry(mol)
    rdCoordGen.AddCoords(mol)
    positions = mol.GetConformer().GetPositions() * _RDKIT_BOND_LENGTH  # CoordGen's is 1
    if np.isfinite(positions).all():
        mol.GetConformer().SetPositions(positions)
    else:  # a hydrogen molecule, which CoordGen cannot lay out
        rdDepictor.Compute2DCoords(mol)
    return mol


def _radii(mol: Chem.Mol, centres: NDArray[np.float64]) -> NDArray[np.float64]:
    """Pixels: heavy atoms 0.42, hydrogens 0.33 of a typical bond as drawn."""
    ends = np.array([(b.GetBeginAtomIdx(), b.GetEndAtomIdx()) for b in mol.GetBonds()], dtype=int)
    drawn = _BOND_LENGTH
    if len(ends):
        drawn = float(np.median(np.linalg.norm(centres[ends[:, 0]] - centres[ends[:, 1]], axis=1)))
    hydrogen = np.array([atom.GetAtomicNum() == 1 for atom in mol.GetAtoms()])
    return np.where(hydrogen, 0.33, 0.42) * drawn


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
