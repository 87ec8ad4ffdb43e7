import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from hpcml.molecules import Molecule, molecule_from_smiles
from hpcml.report.drawings import (
    NEGATIVE,
    POSITIVE,
    compact,
    molecule_drawing,
    relevance_colour,
    skeleton,
)

SVG = "{http://www.w3.org/2000/svg}"


def circles(svg: str) -> list[ET.Element]:
    return list(ET.fromstring(svg).iter(f"{SVG}circle"))


def test_every_atom_has_the_colour_of_its_sign_and_the_strength_of_its_size() -> None:
    water = molecule_from_smiles("O")
    svg = molecule_drawing(water, np.array([2.0, -1.0, 0.0]), 2.0, unit="u", name="w")
    disks = [circle for circle in circles(svg) if circle.get("fill")]
    assert [disk.get("fill") for disk in disks[:2]] == [POSITIVE, NEGATIVE]
    strengths = [float(disk.get("fill-opacity", "nan")) for disk in disks]
    assert strengths[1] == pytest.approx(strengths[0] / 2, abs=1e-3)
    assert strengths[2] == 0.0


def test_resting_on_an_atom_tells_its_number() -> None:
    water = molecule_from_smiles("O")
    svg = molecule_drawing(water, np.array([2.0, -1.0, 0.25]), 2.0, unit="<a>&b", name="w")
    titles = [title.text for title in ET.fromstring(svg).iter(f"{SVG}title")]
    assert titles == ["O1: +2 <a>&b", "H2: -1 <a>&b", "H3: +0.25 <a>&b"]


def test_disks_of_different_atoms_do_not_hide_each_other(molecules: list[Molecule]) -> None:
    for molecule in molecules:
        svg = molecule_drawing(molecule, np.ones(len(molecule)), 1.0, unit="u", name="m")
        disks = [circle for circle in circles(svg) if circle.get("fill")]
        centres = np.array([[float(d.get("cx", "")), float(d.get("cy", ""))] for d in disks])
        radii = np.array([float(d.get("r", "")) for d in disks])
        assert len(disks) == len(molecule)
        distances = np.linalg.norm(centres[:, None] - centres[None], axis=2)
        np.fill_diagonal(distances, np.inf)
        assert (distances > 0.7 * np.add.outer(radii, radii)).all()
        assert (centres > 0).all()
        assert (centres < [230, 190]).all()


def test_the_strongest_colour_is_not_passed() -> None:
    assert relevance_colour(9.0, 1.0) == relevance_colour(1.0, 1.0)
    assert relevance_colour(-9.0, 1.0) == relevance_colour(-1.0, 1.0)
    assert relevance_colour(1.0, 0.0)[1] == 0.0


def test_positive_and_negative_stay_apart_for_the_colour_blind() -> None:
    """In the lightness-free plane that deuteranopes see, blue against yellow (Viénot 1999)."""

    def seen(colour: str) -> tuple[float, float]:
        red, green, blue = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
        linear = [c**2.2 for c in (red, green, blue)]
        return 0.29275 * linear[0] + 0.70725 * linear[1], linear[2]

    yellow_first, blue_first = seen(POSITIVE)
    yellow_second, blue_second = seen(NEGATIVE)
    assert (yellow_first - blue_first) * (yellow_second - blue_second) < 0


def lightness(colour: str, opacity: float, paper: str) -> float:
    """CIELAB's L* of a colour laid over paper."""

    def channels(text: str) -> np.ndarray:
        return np.array([int(text[at : at + 2], 16) / 255 for at in (1, 3, 5)])

    seen = opacity * channels(colour) + (1 - opacity) * channels(paper)
    light = np.where(seen <= 0.04045, seen / 12.92, ((seen + 0.055) / 1.055) ** 2.4)
    y = float(light @ [0.2126, 0.7152, 0.0722])
    return 116 * y ** (1 / 3) - 16


@pytest.mark.parametrize("paper", ["#ffffff", "#f6f7f9", "#1c222a"])
@pytest.mark.parametrize("strength", [0.25, 0.5, 1.0])
def test_both_sides_of_the_scale_are_of_one_lightness(strength: float, paper: str) -> None:
    sides = [lightness(*relevance_colour(sign * strength, 1.0), paper) for sign in (1, -1)]
    assert sides[0] == pytest.approx(sides[1], abs=2.5)


def test_a_compact_drawing_keeps_every_bond_and_letter() -> None:
    molecule = molecule_from_smiles("CC(=O)[NH3+]")
    drawn = skeleton(molecule, outlines=False)
    small = compact(drawn)
    assert len(small) < 0.4 * len(drawn.body)
    ET.fromstring(f"<g>{small}</g>")
    assert re.findall(r">([^<>]+)</text>", small) == re.findall(r">([^<>]+)</text>", drawn.body)
    assert re.findall(r" d='([^']*)'", small) == re.findall(r" d='([^']*)'", drawn.body)
    assert {"17", "11"} == set(re.findall(r"font-size='(\d+)'", small))  # the charge is smaller
