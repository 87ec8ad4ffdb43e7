"""Rows with all kinds of columns, made from a seed; nothing here is chemistry."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest

from hpcml.molecules import Molecule
from hpcml.response.level import Level, Request
from hpcml.store import Row, Schema, result_key

LEVEL = Level(method="HF", basis="STO-3G")
REQUEST = Request(
    properties=("dipole", "alpha", "beta", "zpve", "shares"),
    processes=("static", "shg"),
    frequencies=(0.0428,),
)


@pytest.fixture
def quick_path():
    """A folder in memory where there is one: what a kill leaves behind does not depend on the
    disk, and a thousand fsyncs on a busy one take a minute."""
    memory = Path("/dev/shm")
    with TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder:
        yield Path(folder)


@pytest.fixture
def schema():
    return Schema.for_request(REQUEST)


@pytest.fixture
def make_row(schema):
    """make_row(number) -> the Row of that number, always the same."""

    def make(number: int) -> Row:
        rng = np.random.default_rng(number)
        n = int(rng.integers(1, 9))
        numbers = rng.integers(1, 10, n)
        charge = int(rng.integers(-1, 1))
        molecule = Molecule(
            numbers,
            rng.normal(scale=0.1, size=(n, 3)) + 1.5 * np.arange(n)[:, None],
            charge,
            1 + (int(numbers.sum()) - charge) % 2,
            name=f"mølecule {number}",
            smiles="C" * (number % 4),
        )
        values = {}
        for name in schema.columns:
            length = {
                "vibrational_frequencies": (int(rng.integers(0, 4)),),
                "share_zpve": (n,),
                "share_alpha_iso": (n,),
                "share_beta_parallel": (n,),
            }.get(name, ())
            values[name] = rng.normal(size=(*length, *schema.shape(name)))
        key = result_key(molecule, LEVEL, REQUEST)
        return Row(key, molecule, values, {"number": number, "host": "här"})

    return make


@pytest.fixture
def same_row():
    """same_row(a, b) asserts that two rows are equal in every bit that is kept."""

    def same(a: Row, b: Row) -> None:
        assert a.key == b.key
        assert a.molecule.key == b.molecule.key
        assert (a.molecule.name, a.molecule.smiles) == (b.molecule.name, b.molecule.smiles)
        assert np.array_equal(a.molecule.positions, b.molecule.positions)
        assert dict(a.provenance) == dict(b.provenance)
        assert set(a.values) == set(b.values)
        for name, value in a.values.items():
            assert np.array_equal(value, b.values[name], equal_nan=True), name

    return same
