"""How long a calculation will take: a power law in the number of basis functions.

    t = c N^p        ln t = ln c + p ln N

fitted by least squares to the calculations that a run has done, weighed against a prior from
the method (HF or DFT) so that a handful of equal molecules does not fix the exponent alone.
It orders the queue (longest first), cuts it into tasks, keeps molecules off an allocation that
would end before them, and gives ``--dry-run`` its core-hours.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hpcml.errors import HpcmlError
from hpcml.molecules import Molecule
from hpcml.response import Level, Request
from hpcml.response.basis import functions_by_element

# Functions of an atom by period in a split-valence basis, where the set itself is not known.
_BY_PERIOD = (2, 14, 18, 30, 36, 44, 50)
_LAST_OF_PERIOD = (2, 10, 18, 36, 54, 86, 118)

# Prior: seconds at 100 functions on one core of 2020s make (water to glycine, HF and B3LYP,
# static dipole, alpha and beta), the exponent seen there, and how many observations it is worth.
_REFERENCE_SIZE = 100.0
_PRIOR_SECONDS = {"hf": 3.0, "dft": 40.0}
_PRIOR_EXPONENT = 2.5
_PRIOR_WEIGHT_OF_SCALE = 0.05
_PRIOR_WEIGHT_OF_EXPONENT = 0.5

FITTED_FROM = 20
"""Calculations from which on expectations are trusted for more than the order."""


@cache
def functions_of(basis: str, number: int) -> int:
    """Basis functions of an element, as the set's own text counts them.

    A set that is neither a readable .gbs file nor known to the Basis Set Exchange is estimated
    from the element's period: the fit absorbs a common factor.
    """
    try:
        return _functions(basis)[number]
    except (KeyError, HpcmlError):
        period = next(i for i, last in enumerate(_LAST_OF_PERIOD) if number <= last)
        return _BY_PERIOD[period]


_functions = cache(functions_by_element)


def size(molecule: Molecule, basis: str) -> float:
    """Number of basis functions of a molecule."""
    return float(sum(functions_of(basis, int(number)) for number in molecule.numbers))


@dataclass(frozen=True)
class CostModel:
    """ln t = intercept + exponent ln(N / 100); ``scatter`` is the fit's rms deviation of ln t.

    observations   calculations that it was fitted to; 0: the prior alone
    """

    intercept: float
    exponent: float
    scatter: float
    observations: int

    def expected(self, functions: float) -> float:
        """Seconds expected for a molecule with so many basis functions."""
        return float(
            np.exp(self.intercept + self.exponent * np.log(max(functions, 1.0) / _REFERENCE_SIZE))
        )

    @property
    def fitted(self) -> bool:
        return self.observations >= FITTED_FROM

    def limit(self, functions: float, hang_seconds: float) -> float:
        """Seconds after which a calculation counts as hung.

        Once fitted: thirty times the expectation, and never below a minute; before, and at
        most, the site's ``hang_seconds``.
        """
        if not self.fitted:
            return hang_seconds
        return min(hang_seconds, max(60.0, 30.0 * self.expected(functions)))


def fit(
    level: Level, request: Request, sizes: Sequence[float], seconds: Sequence[float]
) -> CostModel:
    """The model after these calculations (N basis functions, seconds), both of shape (n,)."""
    prior_scale = np.log(_prior_seconds(level, request))
    x = np.log(np.maximum(np.asarray(sizes, float), 1.0) / _REFERENCE_SIZE)
    y = np.log(np.maximum(np.asarray(seconds, float), 1e-4))
    # Bayesian linear regression with independent normal priors on (intercept, exponent).
    design = np.stack([np.ones_like(x), x], axis=1)
    precision = np.diag([_PRIOR_WEIGHT_OF_SCALE, _PRIOR_WEIGHT_OF_EXPONENT])
    prior = np.array([prior_scale, _PRIOR_EXPONENT])
    solution: NDArray[np.float64] = np.linalg.solve(
        design.T @ design + precision, design.T @ y + precision @ prior
    )
    residual = y - design @ solution
    scatter = float(np.sqrt(np.mean(residual**2))) if len(y) else 1.0
    return CostModel(float(solution[0]), float(solution[1]), scatter, len(y))


def _prior_seconds(level: Level, request: Request) -> float:
    seconds = _PRIOR_SECONDS["hf" if level.is_hartree_fock else "dft"]
    dynamic_frequencies = len([w for w in request.frequencies if w != 0.0])
    seconds *= 1.0 + dynamic_frequencies * (1.0 + 0.5 * len(request.processes))
    if "gamma" in request.properties:  # twelve more SCFs with their betas
        seconds *= 13.0
    if "zpve" in request.properties:
        seconds *= 10.0
    if request.optimize:
        seconds *= 10.0
    return seconds


def read_timings(paths: Iterable[Path]) -> tuple[list[float], list[float]]:
    """(sizes, seconds) of the calculations that ended well, from tasks' timings.csv."""
    sizes: list[float] = []
    seconds: list[float] = []
    for path in paths:
        with path.open(newline="", encoding="utf-8") as stream:
            for line in csv.DictReader(stream):
                if line["outcome"] == "done":  # a line cut short by a kill has no outcome
                    sizes.append(float(line["size"]))
                    seconds.append(float(line["busy"]))
    return sizes, seconds
