"""Loewdin's partition: sum rules, turning, distance, and PySCF's densities in plain steps."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.linalg
from numpy.typing import NDArray
from pyscf import gto, scf
from scipy.spatial.transform import Rotation

from hpcml.molecules.molecule import Molecule
from hpcml.response import Level, Request, ResponseProperties, compute, loewdin, shares, units

Array = NDArray[np.float64]

WATER = Molecule([8, 1, 1], [[0.1, 0.0, 0.1173], [0.1, 0.7572, -0.4692], [0.1, -0.7572, -0.4692]])
LEVEL = Level(method="HF", basis="6-31G(d)", exact=True).tight()  # d functions: six, Cartesian
REQUEST = Request(properties=("alpha", "beta", "shares_loewdin"))
NAMES = ("alpha_iso_loewdin", "beta_parallel_loewdin")
FIELD = 2e-3


@pytest.fixture(scope="module")
def found() -> ResponseProperties:
    return compute(WATER, LEVEL, REQUEST)


def test_sums_and_equivalent_atoms(found) -> None:
    assert set(found.shares) == set(NAMES)
    alpha, beta = (found.shares[name] for name in NAMES)
    assert alpha.sum() == pytest.approx(found.polarizability[0].isotropic, rel=1e-8)
    assert beta.sum() == pytest.approx(
        found.hyperpolarizability[0].parallel(found.dipole), rel=1e-8
    )
    assert alpha[1] == pytest.approx(alpha[2], rel=1e-7)
    assert beta[1] == pytest.approx(beta[2], rel=1e-5)
    assert found.provenance["partition_loewdin"] == loewdin.PARTITION
    assert "partition" not in found.provenance


def test_turning_the_molecule_changes_nothing(found) -> None:
    """Not even with Cartesian d functions, with which plain Loewdin charges turn along."""
    rotation = Rotation.from_euler("xyz", [0.4, 1.1, -0.7]).as_matrix()
    turned = compute(Molecule(WATER.numbers, WATER.positions @ rotation.T), LEVEL, REQUEST)
    np.testing.assert_allclose(turned.shares[NAMES[0]], found.shares[NAMES[0]], rtol=1e-7)
    np.testing.assert_allclose(turned.shares[NAMES[1]], found.shares[NAMES[1]], rtol=2e-5)


def test_far_away_nothing_is_felt(found) -> None:
    neon = [50.0, 40.0, -90.0]
    both = Molecule([*WATER.numbers, 10], np.vstack([WATER.positions, neon]))
    together = compute(both, LEVEL, REQUEST)
    np.testing.assert_allclose(together.shares[NAMES[0]][:3], found.shares[NAMES[0]], rtol=1e-6)
    np.testing.assert_allclose(together.shares[NAMES[1]][:3], found.shares[NAMES[1]], rtol=1e-5)
    assert together.shares[NAMES[1]][3] == pytest.approx(0.0, abs=1e-4)


def _pyscf() -> tuple[gto.Mole, Array, Array]:
    """PySCF's water with its first- (3, n, n) and second-order (9, n, n) densities."""
    atoms = list(zip(WATER.symbols, WATER.positions.tolist(), strict=True))
    system = gto.M(atom=atoms, basis="6-31g*", cart=True, verbose=0)
    start = scf.RHF(system).run(conv_tol=1e-13)

    def density(*field: float) -> Array:
        solved = scf.RHF(system)
        operator = np.einsum("x,xmn->mn", field, system.intor("int1e_r"))
        solved.get_hcore = lambda *_: start.get_hcore() + FIELD * operator
        solved.conv_tol, solved.conv_tol_grad = 1e-13, 1e-10
        solved.kernel(start.make_rdm1())
        return solved.make_rdm1()

    unit, rest = np.eye(3), density(0.0, 0.0, 0.0)
    plus, minus = ([density(*(sign * axis)) for axis in unit] for sign in (1.0, -1.0))
    first = np.array([(p - m) / (2 * FIELD) for p, m in zip(plus, minus, strict=True)])
    second = np.empty((3, *first.shape))
    for i in range(3):
        second[i, i] = (plus[i] - 2.0 * rest + minus[i]) / FIELD**2
    for i, j in itertools.combinations(range(3), 2):
        both = density(*(unit[i] + unit[j])) + density(*(-unit[i] - unit[j]))
        mixed = (both - 2.0 * rest) / FIELD**2 - second[i, i] - second[j, j]
        second[i, j] = second[j, i] = 0.5 * mixed
    return system, first, second.reshape(9, *rest.shape)


def test_against_pyscfs_densities_in_fields_divided_in_plain_steps(found) -> None:
    """Atoms' functions made orthonormal one after the other, and scipy's roots of matrices."""
    system, first, second = _pyscf()
    overlap, positions = system.intor("int1e_ovlp"), WATER.positions / units.ANGSTROM
    blocks = [slice(*system.aoslice_by_atom()[atom, 2:]) for atom in range(3)]
    own = scipy.linalg.block_diag(
        *(scipy.linalg.inv(scipy.linalg.cholesky(overlap[block, block])) for block in blocks)
    )
    orthonormal = own @ scipy.linalg.inv(scipy.linalg.sqrtm(own.T @ overlap @ own))
    back = np.linalg.inv(orthonormal)
    operators = [orthonormal.T @ -r @ orthonormal for r in system.intor("int1e_r")]

    def moments(densities: Array) -> shares.AtomicMoments:
        charges, dipoles = np.zeros((len(densities), 3)), np.zeros((len(densities), 3, 3))
        for d, density in enumerate(densities):
            held = back @ density @ back.T
            for atom, block in enumerate(blocks):
                charges[d, atom] = -np.trace(held[block, block])
                for x, operator in enumerate(operators):
                    whole = np.sum(operator[block] * held[block])
                    dipoles[d, atom, x] = whole - charges[d, atom] * positions[atom, x]
        return shares.AtomicMoments(charges, dipoles, np.ones_like(charges))

    centres = np.repeat(np.arange(3), [block.stop - block.start for block in blocks])
    plain = moments(first)
    mine = loewdin.atomic_moments(first, overlap, -system.intor("int1e_r"), centres, positions)
    np.testing.assert_allclose(mine.charges, plain.charges, atol=1e-9)
    np.testing.assert_allclose(mine.dipoles, plain.dipoles, atol=1e-9)
    whole = mine.dipoles.sum(axis=1) + mine.charges @ positions  # before anything is mended
    np.testing.assert_allclose(whole.T, found.polarizability[0].tensor, atol=5e-4)
    numbers = WATER.numbers
    alpha = shares.polarizability_shares(found.polarizability[0].tensor, plain, numbers, positions)
    beta = shares.hyperpolarizability_shares(
        found.hyperpolarizability[0].tensor, found.dipole, moments(second), numbers, positions
    )
    np.testing.assert_allclose(found.shares[NAMES[0]], alpha, atol=2e-4)
    np.testing.assert_allclose(found.shares[NAMES[1]], beta, atol=5e-3)


def test_functions_that_say_the_same_twice_are_counted_once() -> None:
    """A basis function that stands twice changes nothing."""
    system = gto.M(atom="He 0 0 0; H 0 0 1.1", basis="6-31g", charge=1, verbose=0)
    density = scf.RHF(system).run().make_rdm1()
    overlap, operators = system.intor("int1e_ovlp"), -system.intor("int1e_r")
    centres, positions = np.array([0, 0, 1, 1]), system.atom_coords()
    once = loewdin.atomic_moments(density[None], overlap, operators, centres, positions)
    twice = np.vstack([np.eye(4), np.eye(4)[1]])
    again = loewdin.atomic_moments(
        np.pad(density, (0, 1))[None],
        twice @ overlap @ twice.T,
        twice @ operators @ twice.T,
        np.append(centres, 0),
        positions,
    )
    np.testing.assert_allclose(again.charges, once.charges, atol=1e-7)
    np.testing.assert_allclose(again.dipoles, once.dipoles, atol=1e-7)
    assert once.charges.sum() == pytest.approx(-2.0)
