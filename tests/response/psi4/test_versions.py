"""Where versions of Psi4 differ: stand-ins that have what each version has, and no more."""

from __future__ import annotations

from types import SimpleNamespace
from typing import ClassVar

import pytest

from hpcml.response.level import Level
from hpcml.response.psi4 import self_consistent, versions


class Diis:
    resets = 0

    def reset_subspace(self) -> None:
        self.resets += 1


def test_diis_is_forgotten_whether_it_is_a_method_or_an_attribute() -> None:
    until_1_4, since_1_5 = Diis(), Diis()
    versions.reset_diis(
        SimpleNamespace(initialized_diis_manager_=True, diis_manager=lambda: until_1_4)
    )
    versions.reset_diis(SimpleNamespace(initialized_diis_manager_=True, diis_manager_=since_1_5))
    assert (until_1_4.resets, since_1_5.resets) == (1, 1)


def test_where_diis_has_not_begun_there_is_nothing_to_forget() -> None:
    versions.reset_diis(SimpleNamespace(initialized_diis_manager_=False))


def test_energies_of_iterations_do_not_gather_in_the_class() -> None:
    class Wavefunction:
        iteration_energies: ClassVar = [-1.0]

    found = Wavefunction()
    versions.forget_iterations(found)
    found.iteration_energies.append(-2.0)
    assert (Wavefunction.iteration_energies, found.iteration_energies) == ([-1.0], [-2.0])
    versions.forget_iterations(SimpleNamespace())


@pytest.mark.parametrize("exists", [False, True])
def test_every_version_begins_with_diis(exists) -> None:
    core = SimpleNamespace(option_exists_in_module=lambda *_: exists)
    assert versions.accelerator(core) == ({"SCF_INITIAL_ACCELERATOR": "NONE"} if exists else {})


def test_jk_gets_more_than_it_estimates_in_every_version() -> None:
    class JK:
        def memory_estimate(self) -> int:
            return 1000

    versions.give_jk_more_than_it_estimates(SimpleNamespace(JK=JK))
    assert JK().memory_estimate() == 1250


def test_long_range_integrals_are_held_three_times() -> None:
    fitted = SimpleNamespace(dfh=lambda: SimpleNamespace(get_AO_size=lambda: 10))
    assert versions.fitted_integrals_held(fitted, long_range=False) == 80.0
    assert versions.fitted_integrals_held(fitted, long_range=True) == 240.0
    assert versions.fitted_integrals_held(SimpleNamespace(), long_range=True) == 0.0


@pytest.mark.parametrize(
    ("version", "elements", "warned"),
    [
        ("1.3.2", {"Hg": 80}, True),
        ("1.3.2", {"I": 53}, False),
        ("1.3.2", {}, False),
        ("1.9.1", {"Hg": 80}, False),
    ],
)
def test_deep_core_potentials_are_told_where_they_are_wrong(version, elements, warned) -> None:
    assert bool(versions.core_potential_warnings(version, elements)) == warned


@pytest.mark.parametrize(
    ("method", "meta", "second_order"),
    [("HF", False, True), ("PBE", False, True), ("TPSS", True, False)],
)
def test_meta_functionals_have_no_second_order_scf(method, meta, second_order) -> None:
    functional = SimpleNamespace(is_meta=lambda: meta)
    dft = SimpleNamespace(build_superfunctional=lambda *_: (functional, False))
    psi4 = SimpleNamespace(driver=SimpleNamespace(dft=dft))
    level = Level(method=method, basis="STO-3G")
    for attempt in (1, 3):
        options = self_consistent.recipe(psi4, level, attempt)
        assert ("soscf" in options) == second_order
        assert options["maxiter"] >= 200
    assert self_consistent.recipe(psi4, level, 0) == {}


def test_orbitals_are_never_read_and_cast_at_once() -> None:
    """Psi4 refuses both together: "Detected options to both cast and read orbitals"."""
    last = {**self_consistent.RECIPES[-1], **self_consistent.FROM_ORBITALS}
    assert (last["guess"], last["basis_guess"]) == ("read", "FALSE")
