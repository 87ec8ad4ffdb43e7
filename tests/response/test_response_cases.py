"""Tensors printed by Q-Chem, Dalton, Gaussian, NWChem and VeloxChem.

data/response_cases.json names for each value the program, the repository and the commit that it
was read from.  One calculation serves all cases of a molecule at a level.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from hpcml.molecules.molecule import Molecule, atomic_number
from hpcml.response import Level, Request, ResponseProperties, compute
from hpcml.response.units import ANGSTROM

CASES = [
    case
    for case in json.loads((Path(__file__).parent / "data" / "response_cases.json").read_text())[
        "cases"
    ]
    if case["quantity"] in ("polarizability", "hyperpolarizability")
]
AXES = "xyz"


def calculation(case: dict) -> tuple[str, int, int, str, str]:
    """What distinguishes the calculation that a case belongs to; hashable."""
    method = case["method"].split()[0]
    if case["program"] == "Dalton" and method == "B3LYP":
        method = "B3LYP5"  # Dalton's B3LYP has VWN5
    return (
        json.dumps(case["geometry"]),
        case["charge"],
        case["multiplicity"],
        method,
        case["basis"],
    )


@cache
def result(key: tuple[str, int, int, str, str]) -> ResponseProperties:
    geometry = json.loads(key[0])
    positions = np.array(geometry["coords"])
    if geometry["units"] == "bohr":
        positions = positions * ANGSTROM
    cases = [case for case in CASES if calculation(case) == key]
    numbers = [atomic_number(symbol) for symbol in geometry["symbols"]]
    return compute(
        Molecule(np.array(numbers), positions, charge=key[1], multiplicity=key[2]),
        Level(
            method=key[3],
            basis=key[4],
            exact=True,
            scf_convergence=1e-8,
            response_convergence=1e-6,
            kernel_grid=(75, 302),
        ),
        Request(
            properties=("alpha", "beta"),
            processes=(),
            frequencies=tuple(abs(w) for case in cases for w in case["frequencies"]),
            pairs=tuple(
                tuple(case["frequencies"][1:])
                for case in cases
                if case["quantity"] == "hyperpolarizability"
            ),
        ),
    )


@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
def test_agrees_with_the_printed_tensor(case: dict) -> None:
    properties = result(calculation(case))
    if case["quantity"] == "polarizability":
        (tensor,) = (
            alpha.tensor
            for alpha in properties.polarizability
            if alpha.frequency == abs(case["frequencies"][1])
        )
    else:
        tensor = next(
            beta.tensor
            for beta in properties.hyperpolarizability
            if np.allclose(beta.frequencies[1:], case["frequencies"][1:], atol=1e-12)
        )
    if "tensor" in case:
        np.testing.assert_allclose(tensor, case["tensor"], rtol=0.0, atol=case["tolerance"])
    else:
        for component, value in case["components"].items():
            index = tuple(AXES.index(axis) for axis in component)
            assert tensor[index] == pytest.approx(value, abs=case["tolerance"]), component
