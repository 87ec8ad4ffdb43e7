"""The study's data: what is shipped is whole, and computing a row again gives that row."""

from pathlib import Path

import numpy as np
import pytest

import hpcml
from hpcml import config
from hpcml.response import compute
from hpcml.store import result_key, verify

JOBS = Path(__file__).resolve().parents[1] / "jobs"


@pytest.fixture(scope="module")
def campaign():
    return config.load(JOBS / "study_data.toml")


@pytest.fixture(scope="module")
def data():
    return hpcml.open(JOBS / "study" / "small")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("small", ("alpha_iso", "beta_parallel")),
        ("seven", ("alpha_iso", "beta_parallel")),
        ("held_out", ("alpha_iso", "beta_parallel")),
        ("partitions", ("alpha_iso", "beta_parallel")),
        ("vibrations", ("zpve",)),
        ("six", ("zpve",)),
    ],
)
def test_shares_sum_to_their_property(name, words):
    found = hpcml.open(JOBS / "study" / name)
    assert verify(found.folder).ok
    for word in words:
        whole = found.scalar(word)
        sums = np.array([np.sum(row.values[f"share_{word}"]) for row in found])
        known = np.isfinite(whole)
        assert known.any() and np.array_equal(known, np.isfinite(sums))
        np.testing.assert_allclose(sums[known], whole[known], rtol=1e-8, atol=1e-9)


def computed_again(campaign, data, word, place):
    """The row of one of the smallest molecules that have a value of ``word``, and its results."""
    known = np.flatnonzero(np.isfinite(data.scalar(word)))
    sizes = [len(data.molecules[number]) for number in known]
    number = int(known[np.argsort(sizes, kind="stable")[place]])
    molecule, row = data.molecules[number], data[number]
    assert row.key == result_key(molecule, campaign.level, campaign.properties)
    again = compute(molecule, campaign.level, campaign.properties)
    assert again.energy == pytest.approx(float(row.values["energy"]), abs=1e-6)
    for name, shares in again.shares.items():
        expected = row.values[f"share_{name}"]
        np.testing.assert_allclose(shares, expected, atol=1e-6 * np.abs(expected).max())
    return row, again


@pytest.mark.parametrize("place", [0, 1])
def test_a_row_computed_again_is_the_same(campaign, data, place):
    row, again = computed_again(campaign, data, "beta_parallel", place)
    np.testing.assert_allclose(
        again.hyperpolarizability[0].tensor,
        row.values["hyperpolarizability"][0],
        atol=1e-6 * np.abs(row.values["hyperpolarizability"]).max(),
    )


@pytest.mark.parametrize("place", [0, 1])
def test_a_zero_point_energy_computed_again_is_the_same(place):
    campaign = config.load(JOBS / "study_vibrations.toml")
    data = hpcml.open(JOBS / "study" / "vibrations")
    row, again = computed_again(campaign, data, "zpve", place)
    assert again.shares.keys() == {"zpve"}
    assert again.zpve == pytest.approx(float(row.values["zpve"]), rel=1e-6)


@pytest.mark.parametrize(
    ("names", "fewest"),
    [(("small", "seven"), 2500), (("held_out",), 250), (("vibrations", "six"), 400)],
)
def test_as_many_molecules_are_shipped_as_were_asked_for(names, fewest):
    keys = [row.key for name in names for row in hpcml.open(JOBS / "study" / name)]
    assert len(set(keys)) == len(keys) >= fewest
