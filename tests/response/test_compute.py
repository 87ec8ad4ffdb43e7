"""The front door: what comes back, and one molecule over several ranks."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from hpcml.errors import InputError, SettingsError
from hpcml.molecules.molecule import Molecule
from hpcml.response import Level, Request, ResponseProperties, compute

WATER = Molecule([8, 1, 1], [[0.0, 0.1, 0.06], [0.0, 0.86, -0.53], [0.0, -0.66, -0.53]])
HF = Level(method="HF", basis="STO-3G")


def test_only_what_was_asked_for() -> None:
    found = compute(WATER, HF, Request(properties=("dipole",)))
    assert found.polarizability == [] and found.hyperpolarizability == []
    assert found.zpve is None and found.vibrational_frequencies is None and not found.shares
    assert found.energy == pytest.approx(-74.96, abs=0.01)
    assert np.linalg.norm(found.dipole) == pytest.approx(0.68, abs=0.02)


def test_everything_at_once_and_through_json() -> None:
    request = Request(
        properties=("dipole", "alpha", "beta", "zpve", "shares"),
        processes=("static", "shg"),
        frequencies=(0.05,),
        optimize=True,
    )
    found = compute(WATER, HF, request)
    assert [alpha.frequency for alpha in found.polarizability] == [0.0, 0.05]
    assert [beta.process for beta in found.hyperpolarizability] == ["static", "shg"]
    assert found.zpve is not None and found.vibrational_frequencies is not None
    sums = {
        "alpha_iso": found.polarizability[0].isotropic,
        "beta_parallel": found.hyperpolarizability[0].parallel(found.dipole),
        "zpve": found.zpve,
    }
    assert found.shares.keys() == sums.keys()
    for name, total in sums.items():
        assert found.shares[name].sum() == pytest.approx(total, rel=1e-8)
        assert found.shares[name][1] == pytest.approx(found.shares[name][2], rel=1e-2)
    optimized = np.array(found.provenance["optimized_positions"])
    assert np.linalg.norm(optimized[0] - optimized[1]) == pytest.approx(0.989, abs=2e-3)
    assert not found.provenance["warnings"]
    document = json.loads(json.dumps(found.to_json()))
    again = ResponseProperties.from_json(document)
    np.testing.assert_array_equal(
        again.hyperpolarizability[1].tensor, found.hyperpolarizability[1].tensor
    )


def test_an_open_shell_atom_has_an_isotropic_polarizability() -> None:
    found = compute(
        Molecule([7], [[0.0, 0.0, 0.0]], multiplicity=4),
        Level(method="PBE", basis="6-31G", grid=(50, 194)),
        Request(properties=("alpha",)),
    )
    alpha = found.polarizability[0]
    assert alpha.isotropic > 0.5
    np.testing.assert_allclose(alpha.tensor, alpha.isotropic * np.eye(3), atol=1e-4)


PROGRAM = """
import json
from mpi4py import MPI
from hpcml.molecules.molecule import Molecule
from hpcml.response import Level, Request, compute

world = MPI.COMM_WORLD
molecule = Molecule({numbers}, {positions})
level = Level(method="B3LYP", basis="6-31G", grid=(20, 50), kernel_grid=(20, 50), exact={exact})
request = Request(processes=("static", "shg"), frequencies=(0.05,))
found = compute(molecule, level, request, communicator=world)
try:
    compute(molecule, level, request, communicator=world, memory_mb=1)
except Exception as error:
    refused = type(error).__name__
betas = [beta.tensor.tolist() for beta in found.hyperpolarizability]
with open(f"rank{{world.rank}}.json", "w") as file:
    json.dump({{"betas": betas, "refused": refused}}, file)
"""


@pytest.mark.parametrize("exact", [False, True], ids=["fitted", "exact"])
def test_the_number_of_ranks_changes_nothing(tmp_path, exact) -> None:
    script = tmp_path / "program.py"
    script.write_text(
        PROGRAM.format(
            numbers=WATER.numbers.tolist(), positions=WATER.positions.tolist(), exact=exact
        )
    )
    results = {}
    for ranks in (1, 3):
        finished = subprocess.run(
            ["mpiexec", "-n", str(ranks), "--oversubscribe", sys.executable, str(script)],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={
                **os.environ,
                "OMPI_ALLOW_RUN_AS_ROOT": "1",
                "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
                "OMP_NUM_THREADS": "1",
            },
            timeout=300,
            check=False,
        )
        assert finished.returncode == 0, finished.stderr[-2000:]
        found = [json.loads((tmp_path / f"rank{r}.json").read_text()) for r in range(ranks)]
        assert {rank["refused"] for rank in found} == {"ResourceError"}
        results[ranks] = [np.array(rank["betas"]) for rank in found]
    for betas in results[3]:
        np.testing.assert_allclose(betas, results[1][0], atol=1e-8 * np.abs(betas).max())


ATOM = [[0.0, 0.0, 0.0]]


@pytest.mark.parametrize(
    ("molecule", "method", "basis"),
    [
        (Molecule([2], ATOM), "HF", "STO-3G"),
        (Molecule([2], ATOM), "B3LYP", "6-31G"),
        (Molecule([10], ATOM), "HF", "STO-3G"),
        (Molecule([1], ATOM, multiplicity=2), "HF", "STO-3G"),
    ],
    ids=["He, no virtual orbital", "He, s functions alone", "Ne", "H"],
)
def test_where_a_field_excites_nothing_the_response_is_zero(molecule, method, basis) -> None:
    level = Level(method=method, basis=basis, grid=(35, 110), kernel_grid=(35, 110))
    found = compute(molecule, level, Request(properties=("alpha", "beta", "shares")))
    assert not found.polarizability[0].tensor.any()
    assert not found.hyperpolarizability[0].tensor.any()
    assert found.shares["alpha_iso"].tolist() == [0.0]


def test_more_electrons_of_a_spin_than_orbitals_are_refused() -> None:
    """Psi4 leaves those out that do not fit, and gives the energy of an ion."""
    with pytest.raises(InputError, match="He: 2 electrons of one spin do not fit into 1 orb"):
        compute(Molecule([2], ATOM, multiplicity=3), HF, Request(properties=("alpha",)))


@pytest.mark.parametrize("name", ["threads", "memory_mb"])
def test_nothing_to_compute_with_is_refused(name) -> None:
    with pytest.raises(SettingsError, match=f"{name} = 0 must be at least 1"):
        compute(WATER, HF, Request(), **{name: 0})


def test_one_electron_vibrates() -> None:
    """H2+ has no exchange and no correlation: its frequency is that of the exact functional.

    2321 cm^-1 at the basis limit (harmonic; Huber and Herzberg, 1979).
    """
    ion = Molecule([1, 1], [[0.0, 0.0, 0.0], [0.0, 0.0, 1.06]], charge=1, multiplicity=2)
    request = Request(properties=("zpve",))
    found = compute(ion, Level(method="HF", basis="6-31G(d,p)"), request)
    assert found.vibrational_frequencies is not None
    assert found.vibrational_frequencies[0] == pytest.approx(2321.0, rel=0.05)
    atom = Molecule([1], ATOM, multiplicity=2)
    assert compute(atom, HF, Request(properties=("zpve",))).zpve == 0.0


def test_hydrogen_atom_and_molecular_ion_respond_by_their_one_channel() -> None:
    """4.5 bohr^3 is the atom's exact value; H2+ (R = 2 bohr) has 5.08 along and 1.76 across
    (Bishop and Cheung, J. Phys. B 11, 3133 (1978))."""
    large = Level(method="HF", basis="aug-cc-pVTZ")
    atom = compute(Molecule([1], ATOM, multiplicity=2), large, Request(properties=("alpha",)))
    np.testing.assert_allclose(atom.polarizability[0].tensor, 4.5 * np.eye(3), atol=0.03)
    ion = Molecule([1, 1], [[0.0, 0.0, 0.0], [0.0, 0.0, 1.05835442]], charge=1, multiplicity=2)
    across, _, along = np.diag(
        compute(ion, large, Request(properties=("alpha",))).polarizability[0].tensor
    )
    assert along == pytest.approx(5.08, abs=0.05)
    assert across == pytest.approx(1.76, abs=0.05)
