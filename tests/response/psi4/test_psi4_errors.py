"""Whose an error is: Psi4's are told in a line, a bug of ours keeps its traceback."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from hpcml.errors import (
    ConvergenceError,
    EngineError,
    InputError,
    PlatformError,
    ResourceError,
    SettingsError,
)
from hpcml.molecules.molecule import Molecule
from hpcml.response import Level, Request, compute, quadratic
from hpcml.response.psi4 import psi4_errors

WATER = Molecule([8, 1, 1], [[0.0, 0.0, 0.06], [0.0, 0.76, -0.53], [0.0, -0.76, -0.53]])
HF = Level(method="HF", basis="STO-3G")


class SCFConvergenceError(Exception):
    iteration, d_conv = 7, 0.25
    wfn = SimpleNamespace(finalize=lambda: None)


@pytest.fixture
def program(tmp_path: Path):
    """As much of Psi4 as the naming looks at, and a function of its driver that raises."""
    source = tmp_path / "psi4" / "driver.py"
    names: dict = {}
    exec(compile("def fail(error):\n    raise error\n", str(source), "exec"), names)
    exceptions = SimpleNamespace(SCFConvergenceError=SCFConvergenceError)
    return SimpleNamespace(
        __file__=str(source.with_name("__init__.py")),
        driver=SimpleNamespace(p4util=SimpleNamespace(exceptions=exceptions)),
        fail=names["fail"],
    )


@pytest.mark.parametrize("error", [IndexError("list index"), ValueError("no memory of it")])
def test_a_bug_in_the_response_shows_itself(error, monkeypatch) -> None:
    def broken(*_: object) -> float:
        raise error

    monkeypatch.setattr(quadratic, "fock_terms", broken)
    with pytest.raises(type(error), match=str(error)):
        compute(WATER, HF, Request())


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (SCFConvergenceError("SCF iterations"), ConvergenceError),
        (Exception("ADIIS minimization failed. File a bug"), ConvergenceError),
        (
            RuntimeError("Fatal Error: Vx: RKS does not support rotated V builds for MGGA's"),
            ConvergenceError,
        ),
        (RuntimeError("Fatal Error: JK: not enough memory for blocking"), ResourceError),
        (MemoryError("std::bad_alloc"), ResourceError),
        (type("BasisSetNotFound", (Exception,), {})("Unable to find"), InputError),
        (ValueError("module dftd3 could not be run"), PlatformError),
        (ValueError("something about memory lanes"), EngineError),
    ],
)
def test_errors_of_the_driver_are_named(error, expected, program) -> None:
    with pytest.raises(expected) as caught, psi4_errors.psi4s_errors_named(program, WATER, HF):
        program.fail(error)
    assert "H2O at HF/STO-3G" in str(caught.value)
    assert caught.value.__cause__ is error


def test_the_compiled_core_is_known_by_its_words_and_all_else_passes(program) -> None:
    text = "\nFatal Error: Matrix dimensions\nError occurred in file: matrix.cc on line: 12"
    with (
        pytest.raises(EngineError, match="Psi4 fails: RuntimeError: Fatal Error: Matrix"),
        psi4_errors.psi4s_errors_named(program, WATER, HF),
    ):
        raise RuntimeError(text)
    for error in (TypeError("incompatible function arguments"), SettingsError("ours")):
        with pytest.raises(type(error)), psi4_errors.psi4s_errors_named(program, WATER, HF):
            raise error


def test_what_psi4_calls_back_is_ours(program) -> None:
    """The innermost place decides: Psi4's driver may stand above a function of ours."""
    names: dict = {}
    path = str(Path(psi4_errors.__file__).with_name("callback.py"))
    exec(compile("def callback():\n    [][0]\n", path, "exec"), names)
    driver: dict = {}
    exec(compile("def call(f):\n    f()\n", program.__file__, "exec"), driver)
    with pytest.raises(IndexError), psi4_errors.psi4s_errors_named(program, WATER, HF):
        driver["call"](names["callback"])


def test_linear_algebra_of_the_driver_is_the_drivers(program) -> None:
    driver: dict = {"np": np}
    exec(compile("def diagonalize(m):\n    np.linalg.inv(m)\n", program.__file__, "exec"), driver)
    with (
        pytest.raises(EngineError, match="Singular"),
        psi4_errors.psi4s_errors_named(program, WATER, HF),
    ):
        driver["diagonalize"](np.zeros((2, 2)))
