"""Vibrations against closed forms, a slow plain version, PySCF's Hessian, and print."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pyscf import dft, gto, scf
from pyscf.hessian import thermo

from hpcml.molecules.molecule import Molecule
from hpcml.response import geometry, units, vibrations
from hpcml.response.engine import Resources
from hpcml.response.level import Level
from hpcml.response.psi4.surface import open_surface
from hpcml.response.vibrations import SurfacePoint

Array = NDArray[np.float64]

FORMALDEHYDE = Molecule(
    [8, 6, 1, 1],
    [[0.05, 0.1, 1.1872], [0.0, 0.0, 0.0], [0.0, 0.93, -0.59], [0.0, -0.94, -0.58]],
)


class ValenceForceField:
    """Springs between neighbours in a chain and, for three atoms, on the angle about 180 degrees;
    charges that the dipole counts.  No part of it comes from the package."""

    def __init__(self, lengths: list[float], stretch: list[float], bend: float = 0.0) -> None:
        self.lengths, self.stretch, self.bend = lengths, stretch, bend

    def energy(self, positions: Array) -> float:
        bonds = np.diff(positions, axis=0)
        stretched = np.linalg.norm(bonds, axis=1) - self.lengths
        total = 0.5 * float(np.sum(self.stretch * stretched**2))
        if self.bend:
            u, v = bonds / np.linalg.norm(bonds, axis=1)[:, None]
            # 2 - 2 cos(theta) is theta^2 to second order
            total += 0.5 * self.bend * float(2.0 - 2.0 * u @ v)
        return total

    def point(self, positions: Array) -> SurfacePoint:
        gradient = np.empty(positions.size)
        for index in range(positions.size):
            step = np.zeros(positions.size)
            step[index] = 1e-4
            gradient[index] = (
                self.energy(positions + step.reshape(-1, 3))
                - self.energy(positions - step.reshape(-1, 3))
            ) / 2e-4
        charges = np.array([0.5, -1.0, 0.5])[: len(positions)]
        return SurfacePoint(self.energy(positions), gradient.reshape(-1, 3), charges @ positions)

    def analytic_hessian(self, positions: Array) -> None:
        return None


def _plain_frequencies(hessian: Array, numbers: Array) -> Array:
    """No projection: mass-weight, diagonalize, drop the rigid motions by their small size."""
    mass = np.repeat(vibrations.masses(numbers) * 1822.888486, 3)
    eigenvalues = np.linalg.eigvalsh(hessian / np.sqrt(np.outer(mass, mass)))
    nu = np.sign(eigenvalues) * np.sqrt(np.abs(eigenvalues)) * 219474.6313632
    rigid = 5 if len(numbers) == 2 else 6
    return np.sort(nu[np.argsort(np.abs(nu))[rigid:]])


def test_diatomic_closed_form() -> None:
    k, length = 0.33, 2.1  # hydrogen chloride, about
    numbers = np.array([1, 17])
    axis = np.array([1.0, 2.0, -2.0]) / 3.0
    found = vibrations.vibrate(
        ValenceForceField([length], [k]), numbers, np.array([0.0 * axis, length * axis])
    )
    m_h, m_cl = 1.00782503 * 1822.888486, 34.968852682 * 1822.888486
    omega = np.sqrt(k * (1.0 / m_h + 1.0 / m_cl))
    assert found.frequencies == pytest.approx([omega * 219474.6313632], rel=3e-6)
    assert found.zpve == pytest.approx(0.5 * omega, rel=3e-6)
    # mu = 0.5 x1 - x2 along the axis; Q mode: L = (sqrt(m2), -sqrt(m1)) / sqrt(m1 + m2)
    slope = (0.5 * np.sqrt(m_cl / m_h) + 1.0 * np.sqrt(m_h / m_cl)) / np.sqrt(m_h + m_cl)
    assert found.intensities == pytest.approx([slope**2 * units.INFRARED_INTENSITY], rel=1e-5)
    assert found.warnings == ()


def test_linear_triatomic_closed_form() -> None:
    """Carbon dioxide as springs: Herzberg, "Infrared and Raman Spectra" (1945), II,2."""
    k, bend, length = 1.0, 0.2, 2.2
    numbers = np.array([8, 6, 8])
    positions = np.outer([-length, 0.0, length], [0.6, 0.0, 0.8])
    found = vibrations.vibrate(ValenceForceField([length] * 2, [k] * 2, bend), numbers, positions)
    m_o, m_c = 15.99491462 * 1822.888486, 12.0 * 1822.888486
    expected = [
        *[np.sqrt(2.0 * bend / length**2 * (1.0 / m_o + 2.0 / m_c))] * 2,
        np.sqrt(k / m_o),
        np.sqrt(k * (1.0 / m_o + 2.0 / m_c)),
    ]
    np.testing.assert_allclose(found.frequencies, np.array(expected) * 219474.6313632, rtol=2e-5)
    assert found.intensities[2] == pytest.approx(0.0, abs=1e-6)  # the symmetric stretch
    modes = found.modes.reshape(4, 9)
    np.testing.assert_allclose(modes @ modes.T, np.eye(4), atol=1e-12)


def test_an_atom_does_not_vibrate() -> None:
    found = vibrations.harmonic(
        np.zeros((3, 3)), np.zeros((3, 3)), np.zeros((1, 3)), np.array([10]), np.ones((1, 3))
    )
    assert (found.zpve, found.frequencies.size, found.warnings) == (0.0, 0, ())


def test_what_is_no_minimum_is_said() -> None:
    numbers = np.array([8, 6, 8])
    bent_wants_out = ValenceForceField([2.2] * 2, [1.0] * 2, bend=-0.05)
    positions = np.outer([-2.2, 0.0, 2.2], [1.0, 0.0, 0.0])
    found = vibrations.vibrate(bent_wants_out, numbers, positions)
    assert (found.frequencies < 0.0).sum() == 2
    assert found.zpve == pytest.approx(found.frequencies[2:].sum() / 2.0 / 219474.6313632)
    assert "imaginary modes at" in found.warnings[0]
    stretched = vibrations.vibrate(ValenceForceField([2.19], [0.5]), numbers[:2], positions[:2])
    assert "gradient reaches 5.0e-03 Eh/bohr" in stretched.warnings[0]


class ThreadCommunicator:
    """Ranks as threads of one process, for what ``spread`` asks of a communicator."""

    def __init__(self, rank: int, size: int, board: dict, barrier: threading.Barrier) -> None:
        self.rank, self.size, self._board, self._barrier = rank, size, board, barrier

    def _exchange(self, value: object) -> list[object]:
        self._board[self.rank] = value
        self._barrier.wait()
        everything = [self._board[rank] for rank in range(self.size)]
        self._barrier.wait()
        return everything

    def bcast(self, obj: object, root: int = 0) -> object:
        return self._exchange(obj)[root]

    def gather(self, sendobj: object, root: int = 0) -> list[object] | None:
        everything = self._exchange(sendobj)
        return everything if self.rank == root else None


@pytest.mark.parametrize("ranks", [2, 5])
def test_ranks_share_the_gradients(ranks: int) -> None:
    numbers = np.array([8, 6, 8])
    positions = np.outer([-2.2, 0.0, 2.2], [0.6, 0.0, 0.8])
    surface = ValenceForceField([2.2] * 2, [1.0] * 2, 0.2)
    alone = vibrations.vibrate(surface, numbers, positions)
    board: dict = {}
    barrier = threading.Barrier(ranks, timeout=60)

    def rank(index: int) -> vibrations.Vibrations:
        communicator = ThreadCommunicator(index, ranks, board, barrier)
        return vibrations.vibrate(surface, numbers, positions, communicator=communicator)

    with ThreadPoolExecutor(ranks) as pool:
        together = list(pool.map(rank, range(ranks)))
    for found in together:
        np.testing.assert_array_equal(found.frequencies, alone.frequencies)
        np.testing.assert_array_equal(found.intensities, alone.intensities)


def test_progress_is_heard() -> None:
    heard: list[int] = []
    positions = np.array([[0.0, 0.0, 0.0], [2.0, 0.0, 0.0]])
    vibrations.finite_difference_hessian(ValenceForceField([2.0], [0.5]), positions, heard.append)
    assert heard == [2, 4, 6, 8, 10, 12]


@pytest.fixture(scope="module")
def formaldehyde(tmp_path_factory: pytest.TempPathFactory) -> tuple[Array, dict[str, Array]]:
    """An HF/6-31G minimum, and two Hessians with dipole derivatives there."""
    scratch = Resources(scratch=tmp_path_factory.mktemp("scratch"))
    level = Level(method="HF", basis="6-31G", exact=True)
    with open_surface(FORMALDEHYDE, level, scratch) as surface:
        minimum = geometry.minimize(
            surface, FORMALDEHYDE.numbers, FORMALDEHYDE.positions / units.ANGSTROM
        )
        analytic = surface.analytic_hessian(minimum.positions)
        assert analytic is not None
        differences = vibrations.finite_difference_hessian(surface, minimum.positions)
    return minimum.positions, {
        "analytic": analytic[0],
        "analytic dipole": analytic[1],
        "differences": differences[0],
        "differences dipole": differences[1],
    }


def test_analytic_hessian_is_that_of_the_gradients(
    formaldehyde: tuple[Array, dict[str, Array]],
) -> None:
    _, found = formaldehyde
    # Central differences with a step of 0.005 bohr leave fourth derivatives' 4e-5.
    np.testing.assert_allclose(found["analytic"], found["differences"], atol=6e-5)
    np.testing.assert_allclose(found["analytic dipole"], found["differences dipole"], atol=1e-4)
    # Translating the molecule as a whole moves its dipole by its charge, 0.
    np.testing.assert_allclose(
        found["analytic dipole"].reshape(-1, 3, 3).sum(axis=0), 0.0, atol=1e-5
    )


def test_pyscf_agrees(formaldehyde: tuple[Array, dict[str, Array]]) -> None:
    positions, found = formaldehyde
    molecule = gto.M(
        atom=list(zip(FORMALDEHYDE.symbols, positions, strict=True)), unit="B", basis="6-31g"
    )
    hartree_fock = scf.RHF(molecule).run(conv_tol=1e-12)
    other = hartree_fock.Hessian().kernel().transpose(0, 2, 1, 3).reshape(12, 12)
    np.testing.assert_allclose(found["analytic"], other, atol=2e-6)
    ours = vibrations.harmonic(
        found["analytic"], found["analytic dipole"], np.zeros((4, 3)), FORMALDEHYDE.numbers,
        positions,
    )  # fmt: skip
    np.testing.assert_allclose(
        ours.frequencies, _plain_frequencies(other, FORMALDEHYDE.numbers), atol=0.5
    )
    # PySCF weighs with the isotopes' mean masses: 0.03 % for hydrogen, more than all the rest.
    theirs = thermo.harmonic_analysis(molecule, other.reshape(4, 3, 4, 3).transpose(0, 2, 1, 3))
    np.testing.assert_allclose(ours.frequencies, theirs["freq_wavenumber"], rtol=1e-3)


def test_pyscf_agrees_on_the_functional(tmp_path: Path) -> None:
    """Differences of B3LYP gradients against an analytic B3LYP Hessian."""
    fluoride = Molecule([9, 1], [[0.0, 0.1, 0.0], [0.2, 0.0, 0.93]])
    positions = fluoride.positions / units.ANGSTROM
    level = Level(method="B3LYP", basis="STO-3G", exact=True)
    with open_surface(fluoride, level, Resources(scratch=tmp_path)) as surface:
        assert surface.analytic_hessian(positions) is None
        found, _ = vibrations.finite_difference_hessian(surface, positions)
    molecule = gto.M(
        atom=list(zip(fluoride.symbols, positions, strict=True)), unit="B", basis="sto-3g"
    )
    # Psi4's (and Gaussian's) B3LYP has the third fit of Vosko, Wilk and Nusair.
    kohn_sham = dft.RKS(molecule, xc="b3lypg").run(conv_tol=1e-11)
    other = kohn_sham.Hessian().kernel().transpose(0, 2, 1, 3).reshape(6, 6)
    # Neither programme's Hessian follows its grid's points: 1e-3 of a largest element of 0.9.
    np.testing.assert_allclose(found, other, atol=2e-3)
    ours, theirs = (_plain_frequencies(matrix, fluoride.numbers) for matrix in (found, other))
    assert ours == pytest.approx(theirs, abs=3.0)


def test_water_from_the_geometry_to_the_frequencies_as_pyscf_has_them(tmp_path: Path) -> None:
    """HF/6-31G*, with six Cartesian d: PySCF's gradient and Hessian at the minimum found here."""
    water = Molecule([8, 1, 1], [[0.1, 0.0, 0.0], [0.0, 0.8, 0.6], [0.0, -0.8, 0.6]])
    level = Level(method="HF", basis="6-31G*", exact=True)
    with open_surface(water, level, Resources(scratch=tmp_path)) as surface:
        minimum = geometry.minimize(surface, water.numbers, water.positions / units.ANGSTROM)
        found = vibrations.vibrate(surface, water.numbers, minimum.positions)
    atoms = list(zip(water.symbols, minimum.positions, strict=True))
    solved = scf.RHF(gto.M(atom=atoms, unit="B", basis="6-31g*", cart=True)).run(conv_tol=1e-12)
    assert np.abs(solved.nuc_grad_method().kernel()).max() < 1e-4
    hessian = solved.Hessian().kernel().transpose(0, 2, 1, 3).reshape(9, 9)
    np.testing.assert_allclose(
        found.frequencies, _plain_frequencies(hessian, water.numbers), atol=0.5
    )
    assert found.warnings == ()


def test_heavy_water_vibrates_more_slowly(tmp_path: Path) -> None:
    """HF/STO-3G zero-point energies by PySCF 2.6 at its own minimum."""
    positions = [[0.0, 0.0, 0.1173], [0.0, 0.7572, -0.4692], [0.0, -0.7572, -0.4692]]
    water = Molecule([8, 1, 1], positions)
    level = Level(method="HF", basis="STO-3G", exact=True)
    with open_surface(water, level, Resources(scratch=tmp_path)) as surface:
        minimum = geometry.minimize(surface, water.numbers, water.positions / units.ANGSTROM)
        light, heavy = (
            vibrations.vibrate(
                surface, water.numbers, minimum.positions, isotopes=np.array(isotopes)
            )
            for isotopes in ([0, 0, 0], [0, 2, 2])
        )
    assert light.zpve == pytest.approx(0.0243780, abs=1e-6)
    assert heavy.zpve == pytest.approx(0.0177391, abs=1e-6)
