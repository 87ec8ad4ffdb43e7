"""Shares of atoms: sum rules, symmetry, distance, origin, and slow plain versions."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pyscf import dft, gto, scf
from scipy.spatial.transform import Rotation

from hpcml.molecules.molecule import Molecule
from hpcml.response import invariants, shares, units, vibrations
from hpcml.response.engine import Resources
from hpcml.response.induced_densities import MatrixDensities
from hpcml.response.level import Level
from hpcml.response.psi4.session import session
from hpcml.response.psi4.stockholder import atomic_moments
from hpcml.response.shares import AtomicMoments

Array = NDArray[np.float64]

WATER = Molecule([8, 1, 1], [[0.1, 0.0, 0.1173], [0.1, 0.7572, -0.4692], [0.1, -0.7572, -0.4692]])
HYDROXIDE = Molecule([8, 1], [[0.2, -0.1, 0.0], [0.3, 0.6, 0.63]], charge=-1)
LEVEL = Level(method="HF", basis="6-31G", exact=True, scf_convergence=1e-10)
FIELD = 2e-3


@dataclass
class Response:
    """Static response of one molecule from SCF densities in finite fields."""

    dipole: Array
    alpha: Array
    beta: Array
    first: AtomicMoments
    second: AtomicMoments
    ground: AtomicMoments

    def alpha_shares(self, molecule: Molecule) -> Array:
        return shares.polarizability_shares(
            self.alpha, self.first, molecule.numbers, molecule.positions / units.ANGSTROM
        )

    def beta_shares(self, molecule: Molecule) -> Array:
        return shares.hyperpolarizability_shares(
            self.beta,
            self.dipole,
            self.second,
            molecule.numbers,
            molecule.positions / units.ANGSTROM,
        )


@pytest.fixture(scope="module")
def respond(tmp_path_factory: pytest.TempPathFactory):
    scratch: Path = tmp_path_factory.mktemp("scratch")

    @cache
    def compute(molecule: Molecule) -> Response:
        with session(molecule, LEVEL, Resources(scratch=scratch)) as (psi4, psi4_molecule, _):

            def density(*field: float) -> Array:
                # Psi4 adds + strength * mu: a field of minus the strength.
                psi4.set_options(
                    {
                        "perturb_h": True,
                        "perturb_with": "dipole",
                        "perturb_dipole": [-FIELD * f for f in field],
                    }
                )
                _, found = psi4.energy("hf", molecule=psi4_molecule, return_wfn=True)
                psi4.set_options({"guess": "read"})
                kept["wavefunction"] = found
                return np.array(found.Da()) + np.array(found.Db())

            kept: dict = {}
            unit = np.eye(3)
            at_rest = density(0.0, 0.0, 0.0)
            plus, minus = ([density(*(s * e)) for e in unit] for s in (1.0, -1.0))
            first = np.array([(p - m) / (2 * FIELD) for p, m in zip(plus, minus, strict=True)])
            second = np.empty((3, *first.shape))
            for i in range(3):
                second[i, i] = (plus[i] - 2.0 * at_rest + minus[i]) / FIELD**2
            for i, j in itertools.combinations(range(3), 2):
                both = density(*(unit[i] + unit[j])) + density(*(-unit[i] - unit[j]))
                mixed = (both - 2.0 * at_rest) / FIELD**2 - second[i, i] - second[j, j]
                second[i, j] = second[j, i] = 0.5 * mixed
            psi4.set_options({"perturb_h": False})
            wavefunction = kept["wavefunction"]
            mints = psi4.core.MintsHelper(wavefunction.basisset())
            operators = np.array([np.array(matrix) for matrix in mints.ao_dipole()])
            positions = molecule.positions / units.ANGSTROM
            about_zero = np.einsum("xmn,mn->x", operators, at_rest) + molecule.numbers @ positions
            centre = molecule.numbers @ positions / molecule.numbers.sum()
            return Response(
                dipole=about_zero - molecule.charge * centre,
                alpha=np.einsum("imn,jmn->ij", operators, first),
                beta=np.einsum("imn,jkmn->ijk", operators, second),
                first=atomic_moments(psi4, wavefunction, MatrixDensities(first)),
                second=atomic_moments(
                    psi4, wavefunction, MatrixDensities(second.reshape(9, *at_rest.shape))
                ),
                ground=atomic_moments(psi4, wavefunction, MatrixDensities(at_rest[None])),
            )

    return compute


def test_shares_sum_to_the_property(respond) -> None:
    for molecule in (WATER, HYDROXIDE):
        found = respond(molecule)
        assert found.alpha_shares(molecule).sum() == pytest.approx(
            invariants.isotropic(found.alpha), rel=1e-12
        )
        assert found.beta_shares(molecule).sum() == pytest.approx(
            invariants.beta_parallel(found.beta, found.dipole), rel=1e-12
        )


def test_the_quadrature_left_little_to_mend(respond) -> None:
    """Before anything is spread, the moments already give alpha and conserve charge."""
    found = respond(WATER)
    positions = WATER.positions / units.ANGSTROM
    assert np.abs(found.first.charges.sum(axis=1)).max() < 2e-5
    raw = found.first.dipoles.sum(axis=1) + found.first.charges @ positions
    np.testing.assert_allclose(raw.T, found.alpha, atol=1e-4)


def test_equivalent_atoms_share_alike(respond) -> None:
    found = respond(WATER)
    alpha, beta = found.alpha_shares(WATER), found.beta_shares(WATER)
    assert alpha[1] == pytest.approx(alpha[2], rel=1e-5)
    assert beta[1] == pytest.approx(beta[2], rel=2e-4)  # second differences of SCF densities
    assert alpha[0] > alpha[1] > 0.0


def test_turning_the_molecule_changes_nothing(respond) -> None:
    rotation = Rotation.from_euler("xyz", [0.4, 1.1, -0.7]).as_matrix()
    turned = Molecule(WATER.numbers, WATER.positions @ rotation.T)
    here, there = respond(WATER), respond(turned)
    np.testing.assert_allclose(there.alpha_shares(turned), here.alpha_shares(WATER), rtol=2e-5)
    np.testing.assert_allclose(there.beta_shares(turned), here.beta_shares(WATER), rtol=1e-3)


@pytest.mark.parametrize("charge", [0, -1])
def test_far_away_nothing_is_felt(charge: int, respond) -> None:
    near = HYDROXIDE if charge else WATER
    atom = Molecule([10], [[150.0, 40.0, -90.0]])
    both = Molecule([*near.numbers, 10], np.vstack([near.positions, atom.positions]), charge=charge)
    alone, together, neon = respond(near), respond(both), respond(atom)
    np.testing.assert_allclose(
        together.alpha_shares(both),
        [*alone.alpha_shares(near), *neon.alpha_shares(atom)],
        rtol=2e-5,
    )
    if charge == 0:  # an ion's dipole is about the centre of nuclear charge, which neon moves
        np.testing.assert_allclose(
            together.beta_shares(both)[:-1], alone.beta_shares(near), rtol=1e-3
        )


def test_an_ion_can_stand_anywhere(respond) -> None:
    elsewhere = Molecule(
        HYDROXIDE.numbers, HYDROXIDE.positions + np.array([3.0, -2.0, 5.0]), charge=-1
    )
    here, there = respond(HYDROXIDE), respond(elsewhere)
    np.testing.assert_allclose(
        there.alpha_shares(elsewhere), here.alpha_shares(HYDROXIDE), rtol=1e-6
    )
    np.testing.assert_allclose(there.beta_shares(elsewhere), here.beta_shares(HYDROXIDE), rtol=1e-3)


def test_no_dipole_no_parallel_share() -> None:
    moments = AtomicMoments(np.zeros((9, 2)), np.zeros((9, 2, 3)), np.ones((9, 2)))
    found = shares.hyperpolarizability_shares(
        np.zeros((3, 3, 3)), np.zeros(3), moments, np.array([1, 1]), np.eye(3)[:2]
    )
    assert np.isnan(found).all()


def _free_atom(element: str) -> Array:
    """Density of an atom whose valence electrons fill the valence shell evenly."""
    atom = gto.M(atom=element, basis="6-31g", spin=1 if element == "H" else 0)
    solved = scf.hf.RHF(atom)  # restricted and half filled, for hydrogen too
    occupations = {"H": [1.0], "O": [2.0, 1.5, 1.5, 1.5, 1.5]}[element]
    solved.get_occ = lambda energies, _: np.pad(occupations, (0, len(energies) - len(occupations)))
    return solved.run(conv_tol=1e-10).make_rdm1()


def test_hirshfeld_charges_against_a_plain_integration(respond) -> None:
    """PySCF's grid, functions and free atoms: charges of the ground state of water."""
    molecule = gto.M(
        atom=list(zip(WATER.symbols, WATER.positions, strict=True)), basis="6-31g", unit="A"
    )
    density = molecule.RHF().run(conv_tol=1e-11).make_rdm1()
    grid = dft.gen_grid.Grids(molecule)
    grid.level = 5
    grid.build()
    values = dft.numint.eval_ao(molecule, grid.coords)
    rho = np.einsum("pm,mn,pn->p", values, density, values)
    free = []
    for atom in range(3):
        start, stop = molecule.aoslice_by_atom()[atom, 2:]
        own = values[:, start:stop]
        free.append(np.einsum("pm,mn,pn->p", own, _free_atom(molecule.atom_symbol(atom)), own))
    plain = [molecule.atom_charge(a) - grid.weights @ (rho * free[a] / sum(free)) for a in range(3)]
    found = WATER.numbers + respond(WATER).ground.charges[0]
    np.testing.assert_allclose(found, plain, atol=2e-4)
    assert plain[0] == pytest.approx(-2.0 * plain[1], abs=1e-4)


def test_flow_is_the_cheapest_one_that_delivers_the_charges() -> None:
    """Against a quadratic program with every pair's passage as an unknown of its own."""
    random = np.random.default_rng(11)
    numbers = np.array([6, 6, 8, 1, 1])
    positions = np.array([[0, 0, 0], [2.6, 0, 0.3], [4.0, 2.0, 0], [-1, 1.7, 0], [-1, -1.5, 0.8]])
    charges = random.normal(size=5)
    charges -= charges.mean()
    radii = np.array([0.76, 0.76, 0.66, 0.31, 0.31]) / 0.529177210903
    pairs = list(itertools.combinations(range(5), 2))
    cost = np.diag(
        [np.exp(2 * (np.linalg.norm(positions[a] - positions[b]) / (radii[a] + radii[b])) ** 2)
         for a, b in pairs]
    )  # fmt: skip
    incidence = np.zeros((5, len(pairs)))
    for column, (a, b) in enumerate(pairs):
        incidence[a, column], incidence[b, column] = 1.0, -1.0
    lagrange = np.block([[cost, incidence.T], [incidence, np.zeros((5, 5))]])
    passages = np.linalg.lstsq(lagrange, np.concatenate([np.zeros(10), charges]), rcond=None)[0]
    expected = np.zeros((5, 3))
    for amount, (a, b) in zip(passages, pairs, strict=False):
        half = 0.5 * amount * (positions[a] - positions[b])
        expected[a] += half
        expected[b] += half
    moments = AtomicMoments(charges[None], np.zeros((1, 5, 3)), np.ones((1, 5)))
    total = (charges @ positions)[:, None]
    found = shares.atomic_responses(total, moments, numbers, positions)[:, :, 0]
    np.testing.assert_allclose(found, expected, atol=2e-3)
    np.testing.assert_allclose(found.sum(axis=0), charges @ positions, atol=1e-12)


def test_zero_point_energy_of_two_atoms_goes_by_the_others_mass() -> None:
    """L^2 of atom A in a diatomic is m_B / (m_A + m_B)."""
    numbers, positions = np.array([1, 9]), np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 1.733]])
    along = np.zeros((6, 6))
    along[np.ix_([2, 5], [2, 5])] = 0.6 * np.array([[1.0, -1.0], [-1.0, 1.0]])
    found = vibrations.harmonic(along, np.zeros((6, 3)), np.zeros((2, 3)), numbers, positions)
    given = shares.zero_point_shares(found.frequencies, found.modes)
    hydrogen, fluorine = 1.00782503, 18.99840316
    np.testing.assert_allclose(
        given, found.zpve * np.array([fluorine, hydrogen]) / (hydrogen + fluorine), rtol=1e-7
    )


def test_imaginary_modes_hold_no_zero_point_energy() -> None:
    modes = np.linalg.qr(np.random.default_rng(2).normal(size=(6, 6)))[0].reshape(6, 2, 3)
    frequencies = np.array([-300.0, 100.0, 500.0, 900.0, 1500.0, 3000.0])
    given = shares.zero_point_shares(frequencies, modes)
    assert given.sum() == pytest.approx(0.5 * 6000.0 / units.INVERSE_CENTIMETRE)
