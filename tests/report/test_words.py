import math

import pytest

from hpcml.relevance.explain_settings import COMPARATORS
from hpcml.report.words import (
    decimals_of,
    duration,
    number,
    pretty_unit,
    quantity,
    who_hands_back,
)
from hpcml.training import Target


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (0.82053, "0.8205"),
        (9.05, "9.050"),
        (1234.5, "1,234"),
        (-2.669, "−2.669"),
        (3.04e-7, "3.0 × 10⁻⁷"),
        (2.5e9, "2.5 × 10⁹"),
        (math.nan, "–"),
        (math.inf, "–"),
    ],
)
def test_number(value: float, text: str) -> None:
    assert number(value) == text


def test_number_with_decimals_has_no_negative_zero() -> None:
    assert number(-1.2e-7, 2) == "0.00"
    assert number(-2.666, 2) == "−2.67"
    assert decimals_of(43.2) == 2
    assert decimals_of(0.0) == decimals_of(math.nan) == 0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"), (0.44, "0.4 s"), (9.96, "10 s"), (59.4, "59 s"), (59.6, "1 min"),
        (135, "2 min 15 s"), (3599.7, "1 h 00 min"), (7800, "2 h 10 min"),
    ],
)  # fmt: skip
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("unit", "printed"),
    [
        ("e^3 a0^3 Eh^-2", "e³ a₀³ Eₕ⁻²"),
        ("a0^3", "a₀³"),
        ("Eh", "Eₕ"),
        ("cm^-1", "cm⁻¹"),
        ("atomic units (e^3 a0^3 Eh^-2)", "e³ a₀³ Eₕ⁻²"),
        ("atomic units (e^2 a0^2 Eh^-1 = a0^3)", "a₀³"),
        ("", ""),
    ],
)
def test_units(unit: str, printed: str) -> None:
    assert pretty_unit(unit) == printed


def test_quantities() -> None:
    shg = Target(name="beta_parallel", process="shg", frequency=0.0656)
    assert quantity(Target(name="alpha_iso")) == "isotropic polarizability"
    assert quantity(shg) == "hyperpolarizability β∥ (SHG, 0.0656 Eh)"
    assert quantity(Target(name="gap")) == "gap"


def test_every_way_to_explain_has_its_sentence():
    assert who_hands_back("gamma") == "Layer-wise relevance propagation (rule: gamma) hands"
    said = {who_hands_back(rule) for rule in COMPARATORS}
    assert len(said) == len(COMPARATORS)
    assert not any("Layer-wise" in words for words in said)
