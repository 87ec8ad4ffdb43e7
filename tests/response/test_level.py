"""Levels and requests: what is refused, and what a request unfolds to."""

from __future__ import annotations

import msgspec
import pytest

from hpcml.errors import InputError, SettingsError
from hpcml.molecules.molecule import Molecule
from hpcml.response import Level, Request
from hpcml.store import result_key


def test_label() -> None:
    assert Level(method="B3LYP", basis="6-31+G(d)").label == "B3LYP/6-31+G(d)"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": " "}, "method is empty"),
        ({"grid": (75, 300)}, "nearest Lebedev grid has 302"),
        ({"kernel_grid": (5, 302)}, "fewer than 10"),
        ({"scf_convergence": 0.0}, "scf_convergence"),
        ({"response_convergence": 0.5}, "response_convergence"),
    ],
)
def test_impossible_levels_are_named(settings, message) -> None:
    with pytest.raises(SettingsError, match=message):
        Level(**{"method": "HF", "basis": "STO-3G", **settings})


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"properties": ("alpa",)}, "no property 'alpa': did you mean alpha"),
        ({"properties": ("ZZ",)}, "there are dipole, alpha, beta, gamma, excitation, zpve, shares"),
        ({"properties": "alpha"}, "properties must be several"),
        ({"frequencies": 0.05}, "frequencies must be several"),
        ({"frequencies": ("0.05",)}, "'0.05' is no frequency in hartree"),
        ({"processes": ("SHG2",)}, "no process 'SHG2': there are static, shg, eope, or"),
    ],
)
def test_unknown_words_of_a_request_are_named(words, message) -> None:
    with pytest.raises(SettingsError, match=message):
        Request(**words)


def test_a_pair_without_a_number_is_named() -> None:
    with pytest.raises(InputError, match="no finite number"):
        Request(pairs=((0.1, float("nan")),))


def test_what_is_unset_is_not_written_so_that_keys_stay() -> None:
    plain = Level(method="HF", basis="STO-3G")
    assert plain == Level(method="HF", basis="STO-3G", instability="warn")
    fields = ["method", "basis", "exact", "grid", "kernel_grid"]
    assert list(msgspec.to_builtins(plain)) == [*fields, "scf_convergence", "response_convergence"]
    refusing = Level(method="HF", basis="STO-3G", instability="refuse")
    assert msgspec.json.decode(msgspec.json.encode(refusing), type=Level) == refusing
    with pytest.raises(SettingsError, match="instability"):
        Level(method="HF", basis="STO-3G", instability="folow")


def test_tight_loosens_nothing() -> None:
    level = Level(method="HF", basis="STO-3G", scf_convergence=1e-11).tight()
    assert (level.scf_convergence, level.response_convergence) == (1e-11, 1e-7)
    assert Level(method="PBE", basis="STO-3G").tight().scf_convergence == 1e-8


def test_negative_frequency_is_named() -> None:
    with pytest.raises(InputError, match=r"-0\.1 hartree"):
        Request(frequencies=(-0.1,))


def test_dynamic_process_without_a_frequency_is_named() -> None:
    with pytest.raises(SettingsError, match="shg needs a frequency above 0"):
        Request(processes=("static", "shg"))


def test_alpha_is_wanted_at_zero_and_at_each_frequency_once() -> None:
    request = Request(frequencies=(0.1, 0.05, 0.1))
    assert request.polarizability_frequencies == (0.0, 0.05, 0.1)


def test_beta_by_process_and_frequency_with_the_signs_of_the_literature() -> None:
    request = Request(
        processes=("static", "shg", "eope", "or"), frequencies=(0.1, 0.05), pairs=((0.1, -0.05),)
    )
    assert request.hyperpolarizabilities == (
        ("static", (0.0, 0.0, 0.0)),
        ("shg", (-0.1, 0.05, 0.05)),
        ("shg", (-0.2, 0.1, 0.1)),
        ("eope", (-0.05, 0.05, 0.0)),
        ("eope", (-0.1, 0.1, 0.0)),
        ("or", (0.0, 0.05, -0.05)),
        ("or", (0.0, 0.1, -0.1)),
        ("pair", (-0.05, 0.1, -0.05)),
    )


def test_no_beta_without_asking() -> None:
    assert Request(properties=("alpha",)).hyperpolarizabilities == ()


@pytest.mark.parametrize(
    ("method", "basis", "grid"),
    [
        ("B3LYP", "6-31G(d)", (50, 194)),
        ("pbe", "6-31G(2df,p)", (50, 194)),
        ("CAM-B3LYP", "def2-TZVPP", (50, 194)),
        ("B3LYP", "cc-pVTZ", (50, 194)),
        ("B3LYP", "6-31+G(d)", (75, 302)),
        ("B3LYP", "aug-cc-pVDZ", (75, 302)),
        ("B3LYP", "def2-TZVPD", (75, 302)),
        ("B3LYP", "own.gbs", (75, 302)),
        ("M06-2X", "6-31G(d)", (75, 302)),
        ("HF", "6-31G(d)", (75, 302)),
    ],
)
def test_the_grid_of_the_kernel_is_chosen_by_functional_and_basis(method, basis, grid) -> None:
    level = Level(method=method, basis=basis)
    assert level.kernel_grid == grid
    assert msgspec.json.decode(msgspec.json.encode(level), type=Level) == level
    assert msgspec.structs.replace(level, kernel_grid=(99, 590)).kernel_grid == (99, 590)


def test_keys_of_earlier_data_sets_stay() -> None:
    """As hpcml wrote them before ``kernel_grid`` was chosen by the basis."""
    hydrogen = Molecule([1, 1], [[0, 0, 0], [0, 0, 0.74]])
    request = Request(properties=("alpha", "beta", "shares"))
    keys = {
        (method, basis): result_key(hydrogen, Level(method=method, basis=basis), request)
        for method, basis in (("HF", "6-31+G(d)"), ("HF", "6-31G(d)"), ("B3LYP", "aug-cc-pVDZ"))
    }
    assert keys == {
        ("HF", "6-31+G(d)"): "faed71abdf16079072ddadc6c6c80b2e",
        ("HF", "6-31G(d)"): "e95be7f3e23728cfdec646590462aec6",
        ("B3LYP", "aug-cc-pVDZ"): "887c8713b2bbf99d351a57086b24e603",
    }
