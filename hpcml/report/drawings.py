"""Molecules drawn flat, each atom coloured by its relevance."""

from __future__ import annotations

import re
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Skeleton:
    """A molecule laid out in the plane, without its colours.

    head     what opens the SVG
    body     bonds and letters, in the page's text colour
    centres  (n, 2) pixels: where atoms stand
    radii    (n,) pixels: of the disk behind each
    """

    head: str
    body: str
    centres: NDArray[np.float64]
    radii: NDArray[np.float64]


def skeleton(
    molecule: Molecule, width: int = 230, height: int = 190, *, outlines: bool = True
) -> Skeleton:
    """The molecule drawn by RDKit, hydrogens and all; InputError where its bonds are not known.

    outlines   letters as outlines, which look the same everywhere; else as text, which is small
    """
    mol = flat(molecule)
    drawer = rdMolDraw2D.MolDraw2DSVG(width, height, -1, -1, not outlines)
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
    head, body = text.split("<!-- END OF HEADER -->", 1)
    return Skeleton(head, body.replace("</svg>", ""), centres, _radii(mol, centres))


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
    drawn = skeleton(molecule, width, height)
    disks, spots = [], []
    for atom, element in enumerate(molecule.symbols):
        x, y = drawn.centres[atom]
        circle = f"<circle cx='{x:.1f}' cy='{y:.1f}' r='{drawn.radii[atom]:.1f}'"
        colour, opacity = relevance_colour(float(relevance[atom]), limit)
        disks.append(f"{circle} fill='{colour}' fill-opacity='{opacity:.3f}'/>")
        value = f"{element}{atom + 1}: {relevance[atom]:+.4g} {unit}"
        spots.append(f"{circle} fill-opacity='0'><title>{_escaped(value)}</title></circle>")
    said = f"{molecule.formula}, atoms coloured by relevance"
    whole = [drawn.head, *disks, drawn.body, *spots, "</svg>"]
    return embeddable("".join(whole), name, said)


def compact(drawn: Skeleton) -> str:
    """The body in as few bytes as it takes: styles that repeat become attributes of a group."""
    body = re.sub(r"<!--.*?-->|<rect [^>]*>(</rect>)?", "", drawn.body, flags=re.DOTALL)
    body = re.sub(r" class='[^']*'", "", body)
    body = re.sub(r"(-?\d+\.\d)\d+", r"\1", body)
    body = re.sub(r"<path d='([^']*)' style='fill:none[^']*'[^>]*/>", r"<path d='\1'/>", body)
    body = re.sub(r" style='font-size:(\d+)px[^']*' ?", r" font-size='\1'", body)
    body = re.sub(r" style='[^']*'", "", body)
    return re.sub(r"\s+", " ", body).replace("> <", "><").strip()


def relevance_colour(relevance: float, limit: float) -> tuple[str, float]:
    """Colour and opacity of a relevance; beyond the limit the colour is full."""
    strength = min(abs(relevance) / limit, 1.0) if limit > 0 else 0.0
    return (POSITIVE if relevance > 0 else NEGATIVE), _STRONGEST * strength


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
