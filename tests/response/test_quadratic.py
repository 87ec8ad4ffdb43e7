"""The 2n + 1 formula against traces of whole matrices, and the symmetry of its components."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from hpcml.response import quadratic
from hpcml.response.quadratic import FirstOrder

OCCUPIED, VIRTUAL = 3, 5


def random_first_order(seed: int) -> FirstOrder:
    random = np.random.default_rng(seed)
    return FirstOrder(
        random.standard_normal((OCCUPIED, VIRTUAL)),
        random.standard_normal((OCCUPIED, VIRTUAL)),
        random.standard_normal((OCCUPIED, OCCUPIED)),
        random.standard_normal((VIRTUAL, VIRTUAL)),
    )


def whole_density(a: FirstOrder) -> np.ndarray:
    """D_1 with its virtual-occupied block X^T and its occupied-virtual block Y."""
    density = np.zeros((OCCUPIED + VIRTUAL, OCCUPIED + VIRTUAL))
    density[OCCUPIED:, :OCCUPIED] = a.x.T
    density[:OCCUPIED, OCCUPIED:] = a.y
    return density


def test_fock_terms_are_traces_with_the_idempotent_second_order_density() -> None:
    a, b, c = (random_first_order(seed) for seed in range(3))
    total = 0.0
    occupation = np.diag([1.0] * OCCUPIED + [-1.0] * VIRTUAL)
    for first, second, third in permutations((a, b, c)):
        product = whole_density(second) @ whole_density(third)
        # second order of D D = D: the oo block is minus, the vv block plus the product's
        blocks = -occupation @ product
        fock = np.zeros((OCCUPIED + VIRTUAL, OCCUPIED + VIRTUAL))
        fock[:OCCUPIED, :OCCUPIED], fock[OCCUPIED:, OCCUPIED:] = first.occupied, first.virtual
        total += np.trace(fock @ blocks)
    assert quadratic.fock_terms(a, b, c) == pytest.approx(total, rel=1e-12)


def test_fock_terms_do_not_depend_on_the_order_or_the_sign_of_all_frequencies() -> None:
    triple = [random_first_order(seed) for seed in range(3)]
    value = quadratic.fock_terms(*triple)
    for order in permutations(triple):
        assert quadratic.fock_terms(*order) == pytest.approx(value, rel=1e-12)
    negative = [member.at_negative_frequency() for member in triple]
    assert quadratic.fock_terms(*negative) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize(
    ("frequencies", "count"),
    [
        ((0.0, 0.0, 0.0), 10),
        ((-0.2, 0.1, 0.1), 18),
        ((-0.1, 0.1, 0.0), 18),
        ((0.0, 0.1, -0.1), 18),
        ((-0.3, 0.1, 0.2), 27),
    ],
)
def test_unique_components_cover_the_tensor_once(frequencies, count) -> None:
    groups = quadratic.unique_components(frequencies)
    assert len(groups) == count
    everything = [component for members in groups.values() for component in members]
    assert sorted(everything) == sorted(np.ndindex(3, 3, 3))
    tensor = quadratic.fill({c: float(n) for n, c in enumerate(groups)}, frequencies)
    if frequencies[1] == frequencies[2]:
        np.testing.assert_array_equal(tensor, tensor.transpose(0, 2, 1))
    if frequencies[2] == 0.0:
        np.testing.assert_array_equal(tensor, tensor.transpose(1, 0, 2))
