"""Names and numbers as people write them."""

from __future__ import annotations

import math
import re

from hpcml.training.targets import Target, symbols_of

_QUANTITIES = {
    "alpha_iso": "isotropic polarizability",
    "alpha_anisotropy": "anisotropy of the polarizability",
    "beta_parallel": "hyperpolarizability \N{GREEK SMALL LETTER BETA}\N{PARALLEL TO}",
    "beta_hrs": "hyperpolarizability \N{GREEK SMALL LETTER BETA}(HRS)",
    "dipole": "dipole moment",
    "energy": "total energy",
    "zpve": "zero-point energy",
}
LEDGER_WORDS = {  # term of the ledger -> name on the page, meaning
    "bias": ("biases", "what the network adds whatever the molecule"),
    "epsilon": ("absorbed by epsilon", "lost to the stabilizer of the rule"),
    "taylor": ("left by Taylor steps", "what a linearization of a layer leaves unexplained"),
    "mean": ("mean of the target", "put back after the network, which learns deviations from it"),
    "reference": (
        "references of the atoms",
        "what each element is worth by a least-squares fit of the training molecules; the network "
        "learns what is left",
    ),
}
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def quantity(target: Target) -> str:
    """A target in words: "alpha_iso" is the isotropic polarizability."""
    words = _QUANTITIES.get(target.name, target.name)
    if target.is_static:
        return words
    frequency = f"{target.frequency!r} Eh"
    if target.process == "static":  # of a polarizability, which has no process
        return f"{words} (at {frequency})"
    return f"{words} ({target.process.upper()}, {frequency})"


def property_words(label: str) -> str:
    """A column of an export in words: "beta_hrs:shg,0.0656,0.0656", "alpha_iso:0", "energy"."""
    name, *points = label.split(":")
    words = _QUANTITIES.get(name, name.replace("_", " "))
    points = [point for point in points if point not in ("static", "0")]
    if not points:
        return words
    process, _, frequencies = points[0].partition(",")
    told = f"{process.upper()}, {frequencies.replace(',', ', ')}" if frequencies else process
    return f"{words} ({told} Eh)"


def pretty_unit(unit: str) -> str:
    """The symbols of a unit as they are printed: "e^2 a0^2 Eh^-1" is e² a₀² Eₕ⁻¹."""
    unit = symbols_of(unit)
    unit = re.sub(r"\^(-?\d+)", lambda power: power[1].translate(_SUPERSCRIPT), unit)
    unit = re.sub(r"\ba0\b|\ba0(?=[⁻⁰¹²³⁴⁵⁶⁷⁸⁹])", "a₀", unit)
    return re.sub(r"\bEh\b|\bEh(?=[⁻⁰¹²³⁴⁵⁶⁷⁸⁹])", "Eₕ", unit)


def number(value: float, decimals: int | None = None) -> str:
    """Four significant digits, or as many decimals as are asked for; a dash for no number."""
    if not math.isfinite(value):
        return "\N{EN DASH}"
    if decimals is None and value != 0 and not 1e-4 <= abs(value) < 1e6:
        mantissa, exponent = f"{value:.1e}".split("e")
        power = str(int(exponent)).translate(_SUPERSCRIPT)
        return f"{mantissa} × 10{power}".replace("-", "\N{MINUS SIGN}")
    if decimals is None:
        decimals = decimals_of(value)
    rounded = round(value, decimals) + 0.0  # no minus before zero
    return f"{rounded:,.{decimals}f}".replace("-", "\N{MINUS SIGN}")


def decimals_of(value: float) -> int:
    """Decimals that show four significant digits."""
    if not math.isfinite(value) or value == 0:
        return 0
    return max(0, 3 - math.floor(math.log10(abs(value))))


def duration(seconds: float) -> str:
    """A time for people: 0.4 s, 12 s, 3 min 05 s, 2 h 10 min."""
    if seconds < 9.95:
        return f"{seconds:.1f} s" if seconds else "0 s"
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s" if rest else f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def who_hands_back(rule: str) -> str:
    """Subject and verb of the sentence that says how relevances are found."""
    others = {
        "atomic_terms": "The network's own atomic terms hand",
        "gradient_times_input": "Gradient times input hands",
        "integrated_gradients": "Integrated gradients hand",
        "occlusion": "Occlusion of one atom after another hands",
    }
    return others.get(rule, f"Layer-wise relevance propagation (rule: {rule}) hands")
