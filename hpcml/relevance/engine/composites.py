"""Rules and composites by the names of the settings."""

from __future__ import annotations

from hpcml.errors import SettingsError
from hpcml.relevance.engine.rules import (
    AlphaBeta,
    Composite,
    Epsilon,
    Flat,
    Gamma,
    Rule,
    WSquare,
    z_plus,
)
from hpcml.relevance.explain_settings import AUTO, ExplainSettings, rule_from_outside


def composite(settings: ExplainSettings) -> Composite:
    """The composite that ``settings.rule`` names; SettingsError for a comparator's name."""
    epsilon = settings.epsilon
    rules: dict[str, Rule] = {
        "epsilon": Epsilon(epsilon),
        "gamma": Gamma(settings.gamma, epsilon),
        "z_plus": z_plus(epsilon),
        "alpha_beta": AlphaBeta(settings.alpha, epsilon),
        "flat": Flat(epsilon),
        "w_square": WSquare(epsilon),
    }
    if settings.rule in rules:
        return Composite(above=rules[settings.rule], products=settings.products)
    below: dict[str, tuple[tuple[int, Rule], ...]] = {
        "epsilon_gamma": ((settings.gamma_depth, rules["gamma"]),),
        "epsilon_gamma_w_square": ((1, rules["w_square"]), (settings.gamma_depth, rules["gamma"])),
    }
    if settings.rule in below:
        return Composite(rules["epsilon"], below[settings.rule], settings.products)
    if settings.rule == AUTO:
        raise SettingsError("rule 'auto' is chosen for a trained network: name one of the rules")
    make = rule_from_outside(settings.rule)
    if make is None:
        names = ", ".join([*rules, *below])
        raise SettingsError(f"{settings.rule!r} is no rule; there are {names}")
    made = make(settings)
    return made if isinstance(made, Composite) else Composite(made, products=settings.products)
