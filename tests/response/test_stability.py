"""The lowest eigenvalue of the orbital Hessian: against whole matrices of PySCF's integrals."""

from __future__ import annotations

import numpy as np
import pytest
from pyscf import ao2mo, gto, scf

from hpcml.errors import InputError, SettingsError
from hpcml.molecules.molecule import Molecule
from hpcml.response import Level, Request, compute
from hpcml.response.stability import Stability, lowest_mode

HF = Level(method="HF", basis="6-31G", exact=True)
ALPHA = Request(properties=("alpha",))

STRETCHED = Molecule([1, 1], [[0.0, 0.0, 0.0], [0.0, 0.0, 3.0]], name="h2far")
WATER = Molecule([8, 1, 1], [[0.0, 0.0, 0.06], [0.0, 0.76, -0.53], [0.0, -0.76, -0.53]])
NITROGEN_DIOXIDE = Molecule(
    [7, 8, 8], [[0.0, 0.0, 0.0], [0.0, 1.099, 0.466], [0.0, -1.099, 0.466]], multiplicity=2
)


def triplet_by_pyscf(molecule: Molecule) -> float:
    """Lowest eigenvalue of A + B of the triplet: gaps - (ij|ab) - (ib|ja), all of it."""
    atoms = list(zip(molecule.symbols, molecule.positions.tolist(), strict=True))
    found = scf.RHF(gto.M(atom=atoms, basis="6-31G", verbose=0)).run(conv_tol=1e-11)
    o = int((found.mo_occ > 0).sum())
    integrals = ao2mo.restore(1, ao2mo.kernel(found.mol, found.mo_coeff), len(found.mo_occ))
    gaps = found.mo_energy[None, o:] - found.mo_energy[:o, None]
    matrix = -np.einsum("ijab->iajb", integrals[:o, :o, o:, o:])
    matrix = matrix - np.einsum("ibja->iajb", integrals[:o, o:, :o, o:])
    size = gaps.size
    return float(np.linalg.eigvalsh(matrix.reshape(size, size) + np.diag(gaps.ravel()))[0])


@pytest.mark.parametrize("molecule", [STRETCHED, WATER], ids=["H2 at 3 angstrom", "water"])
def test_triplet_instability_is_that_of_the_whole_matrix(molecule) -> None:
    provenance = compute(molecule, HF, ALPHA).provenance
    expected = triplet_by_pyscf(molecule)
    # stopped as soon as its sign is known, and from above
    assert expected - 1e-4 < provenance["orbital_hessian"] < expected + 0.1 * abs(expected) + 5e-3
    warned = any("RHF -> UHF instability" in text for text in provenance["warnings"])
    assert warned == (expected < 0.0)


def test_the_stretched_bond_has_a_lower_unrestricted_solution_and_can_be_refused() -> None:
    atoms = "H 0 0 0; H 0 0 3"
    restricted = scf.RHF(gto.M(atom=atoms, basis="6-31G", verbose=0)).run()
    broken = scf.UHF(restricted.mol)
    alpha, beta = np.diag([1.0, 1.0, 0.0, 0.0]), np.diag([0.0, 0.0, 1.0, 1.0])
    assert broken.kernel(dm0=np.array([alpha, beta])) < restricted.e_tot - 0.1
    refusing = Level(method="HF", basis="6-31G", instability="refuse")
    with pytest.raises(InputError, match=r"HF/6-31G: the SCF solution is not a minimum"):
        compute(STRETCHED, refusing, ALPHA)
    assert not compute(WATER, refusing, ALPHA).provenance["warnings"]


@pytest.mark.parametrize("program", ["psi4", "pyscf"])
@pytest.mark.parametrize(
    ("molecule", "basis"), [(STRETCHED, "6-31G"), (NITROGEN_DIOXIDE, "def2-SVP")], ids=["H2", "NO2"]
)
def test_an_instability_is_followed_to_the_state_that_pyscf_finds_below(
    molecule, basis, program
) -> None:
    """Its own stability analysis, and its own SCF in exact integrals."""
    level = Level(method="HF", basis=basis, exact=True, instability="follow", engine=program)
    found = compute(molecule, level, Request(properties=("alpha",)))
    atoms = list(zip(molecule.symbols, molecule.positions.tolist(), strict=True))
    system = gto.M(atom=atoms, basis=basis, spin=molecule.multiplicity - 1, verbose=0)
    below = scf.UHF(system)
    if molecule is STRETCHED:
        below.kernel(dm0=np.array([np.diag([1.0, 1.0, 0.0, 0.0]), np.diag([0.0, 0.0, 1.0, 1.0])]))
    else:
        below.kernel()
        for _ in range(2):
            orbitals = below.stability()[0]
            below = below.newton().run(below.make_rdm1(orbitals, below.mo_occ))
    assert found.energy == pytest.approx(below.e_tot, abs=1e-6)
    assert found.provenance["spin_squared"] == pytest.approx(below.spin_square()[0], abs=1e-3)
    assert found.provenance["reference"] == "UHF"
    assert found.provenance["orbital_hessian"] > 0.0
    first, last = found.provenance["instability_followed"]
    assert last == found.energy < first
    assert any("an instability of the SCF was followed" in w for w in found.provenance["warnings"])


def test_nothing_is_followed_where_the_state_is_a_minimum() -> None:
    plain, following = (
        compute(WATER, Level(method="HF", basis="6-31G", instability=way), ALPHA)
        for way in ("warn", "follow")
    )
    assert following.energy == pytest.approx(plain.energy, abs=1e-9)
    assert following.provenance["reference"] == "RHF"
    assert "instability_followed" not in following.provenance
    with pytest.raises(SettingsError, match="neither with zpve nor with optimize"):
        compute(
            WATER,
            Level(method="HF", basis="6-31G", instability="follow"),
            Request(properties=("zpve",)),
        )


def test_an_unrestricted_saddle_point_is_warned_of() -> None:
    found = compute(NITROGEN_DIOXIDE, Level(method="HF", basis="def2-SVP"), ALPHA)
    assert found.polarizability[0].isotropic == pytest.approx(13.05, abs=0.01)
    assert any("another solution of the SCF lies lower" in w for w in found.provenance["warnings"])


@pytest.mark.parametrize(
    "molecule",
    [
        Molecule([5], [[0.0, 0.0, 0.0]], multiplicity=2),
        Molecule([8, 1], [[0.0, 0.0, 0.0], [0.2, 0.1, 0.95]], multiplicity=2),
    ],
    ids=["boron", "linear Pi radical"],
)
def test_a_hole_among_equal_orbitals_costs_nothing_to_move_and_is_told(molecule) -> None:
    """Exact: the rotation about the axis (of the atom) is a symmetry of the energy."""
    provenance = compute(molecule, Level(method="HF", basis="6-31G"), ALPHA).provenance
    assert provenance["orbital_hessian"] == pytest.approx(0.0, abs=1e-3)
    assert any("degenerate open shell" in text for text in provenance["warnings"])


@pytest.mark.parametrize("strength", [0.5, 1.0, 1.6])
def test_the_sign_is_found_where_the_lowest_state_has_a_symmetry_of_its_own(strength) -> None:
    """Two blocks that do not couple, as two symmetries: that of the larger gaps binds."""
    random = np.random.default_rng(1)
    gaps = np.concatenate([random.uniform(0.4, 3.0, 40), random.uniform(0.6, 3.0, 40)])
    matrix = np.diag(gaps)
    for block in (slice(0, 40), slice(40, 80)):
        coupling = 0.02 * random.standard_normal((40, 40))
        matrix[block, block] += coupling + coupling.T
    direction = np.where(np.arange(80) < 40, 0.0, 1.0 / gaps)
    direction /= np.linalg.norm(direction)
    matrix -= strength * np.outer(direction, direction)
    exact = np.linalg.eigvalsh(matrix)[0]
    found, _ = lowest_mode(gaps, lambda rows: rows @ matrix)
    assert np.sign(found) == np.sign(exact)
    assert found >= exact - 1e-10


def test_where_nothing_can_be_excited_nothing_is_unstable() -> None:
    value, _ = lowest_mode(np.empty(0), lambda rows: rows)
    assert Stability(value, restricted=True).warnings == []
