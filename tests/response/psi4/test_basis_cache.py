"""What is remembered of basis sets changes nothing."""

import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from hpcml.molecules import Molecule
from hpcml.response import Level, Request, compute
from hpcml.response.psi4.basis_cache import remember_basis_sets


class Parser:
    """As much of Psi4's as is used: what it is asked, it writes down."""

    def __init__(self):
        self.force_puream_or_cartesian = self.forced_is_puream = False

    def load_file(self, filename, basisname=None):
        self.asked.append(filename)
        return Path(filename).read_text().splitlines()

    def parse(self, symbol, dataset):
        self.asked.append((symbol, self.forced_is_puream))
        return [line for line in dataset if line.startswith(symbol)]


@pytest.fixture
def parser():
    class Fresh(Parser):
        pass

    sets = SimpleNamespace(corresponding_basis=lambda name, role: (name, role))
    modules = SimpleNamespace(
        libmintsbasissetparser=SimpleNamespace(Gaussian94BasisSetParser=Fresh),
        libmintsbasisset=sets,
    )
    Fresh.asked = []
    remember_basis_sets(SimpleNamespace(driver=SimpleNamespace(qcdb=modules)))
    return Fresh


def test_a_file_is_read_and_an_element_parsed_once_until_the_file_changes(parser, tmp_path):
    path = tmp_path / "x.gbs"
    path.write_text("H 1\nC 2\n")
    for _ in range(2):
        one = parser()
        lines = one.load_file(str(path))
        assert one.parse("C", lines) == ["C 2"]
        assert one.parse("H", lines) == ["H 1"]
    other = parser()
    other.forced_is_puream = True
    assert other.parse("C", other.load_file(str(path))) == ["C 2"]
    assert parser.asked == [str(path), ("C", False), ("H", False), ("C", True)]
    path.write_text("C 3\n")
    os.utime(path, ns=(1, 1))
    assert other.parse("C", other.load_file(str(path))) == ["C 3"]


def test_text_that_is_no_file_is_parsed_each_time(parser):
    for _ in range(2):
        assert parser().parse("C", ["C 1"]) == ["C 1"]
    assert len(parser.asked) == 2


def test_a_missing_file_is_still_an_error(parser):
    with pytest.raises(FileNotFoundError):
        parser().load_file("nowhere.gbs")


def test_the_same_molecule_again_and_among_others_gives_the_same():
    water = Molecule(np.array([8, 1, 1]), np.array([[0, 0, 0], [0, 0.75, 0.58], [0, -0.75, 0.58]]))
    methylidyne = Molecule(np.array([6, 1]), np.array([[0, 0, 0], [0, 0, 1.1]]), 0, 2)
    level = Level(method="HF", basis="6-31G(d)")
    first = compute(water, level, Request(properties=("dipole", "alpha")))
    compute(methylidyne, level, Request(properties=("dipole",)))
    compute(water, Level(method="HF", basis="STO-3G"), Request(properties=("dipole",)))
    again = compute(water, level, Request(properties=("dipole", "alpha")))
    assert again.energy == pytest.approx(first.energy, abs=1e-12)
    np.testing.assert_allclose(
        again.polarizability[0].tensor, first.polarizability[0].tensor, atol=1e-12
    )
