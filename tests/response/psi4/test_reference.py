"""The ground state: what is refused and how, fallbacks, linear dependence."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

from hpcml.cluster.site import Site
from hpcml.errors import ConvergenceError, InputError, PlatformError, ResourceError, SettingsError
from hpcml.molecules import Defect, read
from hpcml.molecules.molecule import Molecule
from hpcml.response import Level, Request, compute
from hpcml.response.engine import Resources
from hpcml.response.psi4 import attempts, memory, self_consistent, session
from hpcml.response.psi4.reference import ground_state

WATER = Molecule([8, 1, 1], [[0.0, 0.0, 0.06], [0.0, 0.76, -0.53], [0.0, -0.76, -0.53]])
HF = Level(method="HF", basis="STO-3G")


def refused(molecule=WATER, level=HF, **settings):
    return compute(molecule, level, Request(properties=("dipole",)), **settings)


@pytest.mark.parametrize(
    ("charge", "multiplicity"), [(0, 2), (0, 12), (1, 1), (0, 0), (0, -1), (9, 3)]
)
def test_impossible_multiplicity(charge, multiplicity) -> None:
    molecule = Molecule([8, 1, 1], WATER.positions, charge, multiplicity)
    with pytest.raises(InputError, match="multiplicity"):
        refused(molecule)


def test_no_electrons() -> None:
    with pytest.raises(InputError, match="leaves 0 electrons"):
        refused(Molecule([1], [[0.0, 0.0, 0.0]], charge=1))


def test_atoms_on_top_of_each_other_are_named() -> None:
    molecule = Molecule([8, 1, 1], [[0, 0, 0], [0.5, 0.8, 0], [0.5, 0.8, 0.01]], name="crash")
    with pytest.raises(InputError, match=r"crash: atoms 2 \(H\) and 3 \(H\) are 0\.010 angstrom"):
        refused(molecule)


@pytest.mark.parametrize(
    ("level", "message"),
    [
        (Level(method="B3LIP", basis="STO-3G"), "b3lyp"),
        (Level(method="MP2", basis="STO-3G"), "neither HF nor a functional"),
        (Level(method="B2PLYP", basis="STO-3G"), "double hybrid"),
        (Level(method="wB97X-V", basis="STO-3G"), "VV10.*wB97X for"),
        (Level(method="B3LYP-NL", basis="STO-3G"), "VV10"),
        (Level(method="HF", basis="STO-9G"), "STO-9G"),
    ],
)
def test_unknown_method_or_basis_is_named(level, message) -> None:
    with pytest.raises(SettingsError, match=message):
        refused(level=level)


def test_no_setting_freezes_orbitals_behind_the_back_of_a_level() -> None:
    """All electrons respond: what froze orbitals in this process before is forgotten."""
    plain = compute(WATER, HF, Request(properties=("alpha",)))
    sys.modules["psi4"].set_options({"freeze_core": True, "num_frozen_docc": 1})
    again = compute(WATER, HF, Request(properties=("alpha",)))
    np.testing.assert_allclose(
        again.polarizability[0].tensor, plain.polarizability[0].tensor, atol=1e-8
    )
    with pytest.raises(msgspec.ValidationError, match="unknown field `freeze_core`"):
        msgspec.convert({"method": "HF", "basis": "STO-3G", "freeze_core": True}, Level)


@pytest.mark.parametrize("label", ["@H", "Gh(H)", "X"])
def test_a_ghost_atom_is_no_atom(label, tmp_path) -> None:
    with pytest.raises(InputError, match="atomic numbers must lie between 1 and 118"):
        Molecule([8, 1, 0], WATER.positions)
    path = tmp_path / "dimer.xyz"
    path.write_text(f"2\n\nHe 0 0 0\n{label} 0 0 3\n")
    (defect,) = read(path)
    assert isinstance(defect, Defect)
    assert "is not an element symbol" in str(defect)
    assert label in str(defect)


@pytest.mark.parametrize(
    ("method", "charge", "multiplicity"), [("RHF", 1, 2), ("rhf", 0, 3), ("UHF", 0, 1)]
)
def test_a_reference_that_the_multiplicity_does_not_have_is_refused(
    method, charge, multiplicity
) -> None:
    molecule = Molecule(WATER.numbers, WATER.positions, charge, multiplicity)
    with pytest.raises(InputError, match=rf"H2O: {method.upper()} of multiplicity {multiplicity}"):
        refused(molecule, Level(method=method, basis="STO-3G"))


def test_the_reference_that_the_multiplicity_has_may_be_said() -> None:
    plain, said = (refused(level=Level(method=m, basis="STO-3G")) for m in ("HF", "RHF"))
    assert said.energy == pytest.approx(plain.energy, abs=1e-9)


def test_what_is_known_to_be_inexact_is_warned_of() -> None:
    """Deep cores in Psi4 1.3.2: PySCF's energy of HgH2 lies 1.06e-3 hartree away."""
    mercury = Molecule([80, 1, 1], [[0.0, 0.0, 0.0], [0.0, 0.0, 1.65], [0.0, 0.0, -1.65]])
    deep = refused(mercury, Level(method="HF", basis="def2-SVP")).provenance
    known_wrong = deep["program_version"].startswith("1.3")
    assert any("deep effective core potentials (Hg)" in w for w in deep["warnings"]) == known_wrong
    screened = refused(level=Level(method="HSE06", basis="STO-3G", grid=(20, 50)))
    assert any("short-range exchange" in text for text in screened.provenance["warnings"])


class Alone:
    """A rank whose partners fail no less: what it gathers must be fit to be sent."""

    rank, size = 0, 2

    def gather(self, sendobj, root=0):
        return [pickle.loads(pickle.dumps(sendobj)), None]

    def bcast(self, obj, root=0):
        return pickle.loads(pickle.dumps(obj))


@pytest.mark.parametrize("method", ["HF", "B3LYP"])
def test_an_scf_that_failed_can_be_told_to_other_ranks(method, monkeypatch) -> None:
    monkeypatch.setattr(self_consistent, "RECIPES", ({"maxiter": 2},))
    resources = Resources(communicator=Alone())
    with (
        pytest.raises(ConvergenceError, match="did not converge in") as caught,
        ground_state(WATER, Level(method=method, basis="STO-3G"), resources),
    ):
        pass
    assert 1e-6 < caught.value.residual < 1.0


UNCONVERGED = """
from hpcml.errors import ConvergenceError
from hpcml.molecules.molecule import Molecule
from hpcml.response import Level, Request, compute
from hpcml.response.psi4 import self_consistent

self_consistent.RECIPES = ({"maxiter": 2},)
water = Molecule([8, 1, 1], [[0.0, 0.0, 0.06], [0.0, 0.76, -0.53], [0.0, -0.76, -0.53]])
for method in ("HF", "B3LYP"):
    try:
        compute(water, Level(method=method, basis="STO-3G"), Request(properties=("zpve",)))
    except ConvergenceError as error:
        print(error)
"""


def test_an_scf_that_failed_does_not_abort_the_process_at_its_end(tmp_path) -> None:
    """Psi4 ended in C++'s terminate (exit code 134) while Python went down."""
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", UNCONVERGED],
        cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("did not converge in") == 2
    assert list(tmp_path.iterdir()) == []


def test_the_least_of_a_rank_is_enough_for_psi4() -> None:
    """``cluster.site`` knows nothing of Psi4, and keeps a number of its own."""
    assert memory.calculation_mb(500) >= memory.LEAST_MB
    with pytest.raises(SettingsError, match="at least 500"):
        Site(memory_mb=499)


def test_dispersion_without_its_program() -> None:
    before = Path.cwd(), set(Path.home().glob("dftd3_*"))
    with pytest.raises(PlatformError, match="dftd3 is not installed"):
        refused(level=Level(method="B3LYP-D3BJ", basis="STO-3G", grid=(20, 50)))
    assert (Path.cwd(), set(Path.home().glob("dftd3_*"))) == before  # where Psi4 tries it


def test_too_little_memory() -> None:
    with pytest.raises(ResourceError, match="at least 250"):
        refused(memory_mb=100)


def test_little_memory_changes_the_way_but_not_the_result() -> None:
    """With 250 MB nothing is kept that can be made again; the numbers stay."""
    level = Level(method="PBE", basis="aug-cc-pVTZ", kernel_grid=(50, 194), grid=(20, 50))
    plenty, little = (compute(WATER, level, Request(), memory_mb=m) for m in (4000, 250))
    np.testing.assert_allclose(
        little.hyperpolarizability[0].tensor, plenty.hyperpolarizability[0].tensor, atol=2e-3
    )


def test_scf_without_convergence_carries_its_residual(monkeypatch) -> None:
    monkeypatch.setattr(self_consistent, "RECIPES", ({"maxiter": 2},))
    with pytest.raises(ConvergenceError, match="SCF did not converge in 2 iterations") as caught:
        refused()
    assert 1e-6 < caught.value.residual < 1.0


@pytest.mark.parametrize("attempt", range(attempts + 1))
@pytest.mark.parametrize("multiplicity", [1, 2])
def test_every_rung_of_the_ladder_reaches_the_same_minimum(attempt, multiplicity) -> None:
    molecule = Molecule(WATER.numbers, WATER.positions, multiplicity - 1, multiplicity)
    level = Level(method="HF", basis="6-31G")
    with ground_state(molecule, level, Resources(attempt=attempt)) as found:
        energy = found.energy
    with ground_state(molecule, level, Resources()) as plain:
        assert energy == pytest.approx(plain.energy, abs=1e-8)
    assert found.provenance["scf_attempt"] == attempt


def test_a_campaign_tries_every_recipe_once() -> None:
    assert Site().tries == attempts


def test_linearly_dependent_functions_are_left_out_and_told(tmp_path) -> None:
    path = tmp_path / "twins.gbs"
    shells = "".join(
        f"S 1 1.00\n {exponent:.9f} 1.0\n" for exponent in (4.0, 1.2, 0.35, 0.35000001, 0.1)
    )
    path.write_text("spherical\n****\nH 0\n" + shells + "P 1 1.00\n 0.8 1.0\n****\n")
    molecule = Molecule([1, 1], [[0.0, 0.0, 0.0], [0.1, 0.2, 0.7]])
    twins = compute(molecule, Level(method="B3LYP", basis=str(path)), Request())
    assert twins.provenance["orbitals"] == twins.provenance["basis_functions"] - 2
    assert any("linearly dependent" in text for text in twins.provenance["warnings"])
    single = tmp_path / "single.gbs"
    single.write_text(path.read_text().replace("S 1 1.00\n 0.350000010 1.0\n", ""))
    plain = compute(molecule, Level(method="B3LYP", basis=str(single)), Request())
    np.testing.assert_allclose(
        twins.polarizability[0].tensor, plain.polarizability[0].tensor, atol=1e-3
    )


def test_dipole_of_an_ion_is_about_the_centre_of_nuclear_charge() -> None:
    ion = Molecule([8, 1], [[0.0, 0.0, 0.0], [0.0, 0.0, 0.97]], charge=-1)
    moved = Molecule(ion.numbers, ion.positions + np.array([1.0, -2.0, 3.0]), charge=-1)
    here, there = (compute(m, HF, Request(properties=("dipole",))) for m in (ion, moved))
    np.testing.assert_allclose(there.dipole, here.dipole, atol=1e-6)
    # oxygen's 8 of 9 nuclear charges
    assert here.provenance["dipole_origin"][2] == pytest.approx(0.97 / 9 / 0.529177210903)


def test_exact_integrals_that_do_not_fit_into_memory_are_made_when_needed(monkeypatch) -> None:
    level = Level(method="HF", basis="6-31G", exact=True)
    stored = compute(WATER, level, Request())
    monkeypatch.setattr(session, "_count_functions", lambda *_: 1000)
    direct = compute(WATER, level, Request())
    assert (stored.provenance["integrals"], direct.provenance["integrals"]) == (
        "PKJK",
        "DirectJK",
    )
    np.testing.assert_allclose(
        direct.hyperpolarizability[0].tensor, stored.hyperpolarizability[0].tensor, atol=1e-4
    )
