"""Bad input with PySCF is one line that says what to do; the engine is chosen and told."""

from __future__ import annotations

import sys

import msgspec
import pytest

from hpcml.errors import ConvergenceError, InputError, PlatformError, PlatformWarning, SettingsError
from hpcml.molecules.molecule import Molecule
from hpcml.response import Level, Request, compute
from hpcml.response import engine as engines
from hpcml.store import result_key

HYDROGEN = Molecule([1, 1], [[0, 0, 0], [0, 0, 0.74]])
LEVEL = Level(method="HF", basis="STO-3G", engine="pyscf")


def _replaced(**changes: object) -> Level:
    return msgspec.structs.replace(LEVEL, **changes)


def test_an_element_without_functions_is_named() -> None:
    with pytest.raises(InputError, match="no functions for U"):
        compute(Molecule([92], [[0, 0, 0]]), _replaced(basis="cc-pVDZ"), Request())


def test_an_unknown_basis_is_named_with_near_ones() -> None:
    with pytest.raises(SettingsError, match="did you mean"):
        compute(HYDROGEN, _replaced(basis="cc-pVDDZ"), Request())


def test_linear_dependence_is_taken_out_and_told() -> None:
    close = Molecule([1] * 2, [[0, 0, 0], [0, 0, 0.36]])
    found = compute(
        close, _replaced(basis="d-aug-cc-pVTZ", exact=True), Request(properties=("dipole",))
    )
    assert any("linearly dependent" in line for line in found.provenance["warnings"])
    assert found.provenance["orbitals"] < found.provenance["basis_functions"]


def test_an_scf_that_does_not_converge_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    from hpcml.response.pyscf import field

    monkeypatch.setattr(field, "RECIPES", (field.Recipe(iterations=1),))
    with pytest.raises(ConvergenceError, match="did not converge in 1 iterations"):
        compute(Molecule([8, 1, 1], [[0, 0, 0], [0, 0.76, 0.6], [0, -0.76, 0.6]]), LEVEL, Request())


@pytest.mark.parametrize("attempt", [1, 2, 3])
def test_every_recipe_finds_the_same_state(attempt: int) -> None:
    energies = [
        compute(HYDROGEN, LEVEL, Request(properties=("dipole",)), attempt=recipe).energy
        for recipe in (0, attempt)
    ]
    assert energies[0] == pytest.approx(energies[1], abs=1e-9)


def test_without_pyscf_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("hpcml.response.pyscf")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr("hpcml.response.pyscf")
    monkeypatch.setitem(sys.modules, "pyscf", None)
    with pytest.raises(PlatformError, match="pip install pyscf"):
        engines.engine("pyscf")


def test_pyscf_serves_where_there_is_no_psi4_and_it_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    there = engines.find_spec
    monkeypatch.setattr(engines, "find_spec", lambda name: None if name == "psi4" else there(name))
    unnamed = _replaced(engine=msgspec.UNSET)
    with pytest.warns(PlatformWarning, match="computed with PySCF"):
        assert engines.with_engine(unnamed) == LEVEL
    named = _replaced(engine="psi4")
    assert engines.with_engine(named) == named


def test_an_engine_that_is_none_is_refused() -> None:
    with pytest.raises(SettingsError, match="no engine 'pyscff': did you mean pyscf"):
        Level(method="HF", basis="STO-3G", engine="pyscff")  # type: ignore[arg-type]


def test_the_engine_is_part_of_the_key_and_psi4_goes_without_saying() -> None:
    keys = {
        name: result_key(HYDROGEN, _replaced(engine=name), Request())
        for name in (msgspec.UNSET, "psi4", "pyscf")
    }
    assert keys[msgspec.UNSET] == keys["psi4"] != keys["pyscf"]


@pytest.mark.parametrize(
    ("program", "method", "message"),
    [
        ("psi4", "r2SCAN", r"PySCF has it \(engine = .pyscf., --engine pyscf\)"),
        ("pyscf", "B2PLYP", "is a double hybrid"),
        ("pyscf", "DSD-PBEP86-D3BJ", "is a double hybrid"),
        ("pyscf", "wB97X-V", "VV10, of which there is neither.*wB97X for wB97X-V"),
        ("pyscf", "B3LYP-NL", "VV10"),
        ("pyscf", "TPSS0", r"near: .*Psi4 may have it \(engine = .psi4.\)"),
    ],
)
def test_a_functional_that_one_engine_lacks_is_told_with_what_to_do(
    program, method, message
) -> None:
    with pytest.raises(SettingsError, match=message):
        compute(HYDROGEN, _replaced(method=method, engine=program), Request())
