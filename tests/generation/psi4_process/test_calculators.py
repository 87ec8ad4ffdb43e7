"""Zeros in the shapes of whatever is asked for."""

import time
from dataclasses import replace

import numpy as np
import pytest

from hpcml.cluster import Site
from hpcml.errors import InputError
from hpcml.generation.psi4_process.calculators import none, wait
from hpcml.molecules import Molecule
from hpcml.response import Level, Request, engine
from hpcml.store import Row, Schema

WATER = Molecule(np.array([8, 1, 1]), np.array([[0, 0, 0], [0, 0.75, 0.58], [0, -0.75, 0.58]]))


@pytest.mark.parametrize(
    "request_",
    [
        Request(),
        *(Request(processes=(process,), frequencies=(0.05,)) for process in ("shg", "eope", "or")),
        Request(pairs=((0.03, 0.05),)),
        Request(properties=("alpha", "beta", "zpve", "shares")),
        Request(properties=("alpha", "beta", "zpve", "shares", "shares_loewdin")),
        Request(properties=("dipole",), frequencies=(0.05,)),
    ],
)
def test_none_fills_every_column_but_the_one_that_needs_a_dipole(request_):
    result = none(WATER, Level(method="HF", basis="STO-3G"), request_, None)
    row = Row.from_result("", WATER, result, Schema.for_request(request_))
    empty = {name for name, value in row.values.items() if np.isnan(value).any()}
    assert empty <= {"beta_parallel"}
    assert all((value == 0).all() for name, value in row.values.items() if name not in empty)


def test_wait_takes_as_long_as_the_name_says_and_refuses_other_names():
    began = time.monotonic()
    level, request = Level(method="HF", basis="STO-3G"), Request()
    result = wait(replace(WATER, name="wait 0.2"), level, request, None)
    assert time.monotonic() - began >= 0.2
    assert result.energy == 0.0
    for name in ("", "water", "wait", "wait long"):
        with pytest.raises(InputError, match=r"wait 0\.5"):
            wait(replace(WATER, name=name), level, request, None)


def test_a_molecule_has_a_try_for_every_rung_of_the_ladder():
    assert Site().tries == engine.engine().attempts
