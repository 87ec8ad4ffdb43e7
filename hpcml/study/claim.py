"""The claim put to the test: at equal error the network with the better reasons transfers better.

An observation is a trained network and a set of molecules of another kind: its reasons score and
its error on molecules like its training molecules, and its error on that set.  Observations of one
property, split and set are a stratum; within it all three are ranked (errors of two properties
cannot be compared, and no error is normally distributed).  The partial correlation of score with
transfer error, given the error at home, pooled over the strata, is Spearman's for one stratum:

    r(xy.z) = (r_xy - r_xz r_yz) / sqrt((1 - r_xz^2) (1 - r_yz^2))

Negative says that better reasons go with smaller transfer errors.

What varies are first of all the networks, and cells of one network are no independent draws.  The
interval is therefore that of a bootstrap of networks, and p that of dealing the scores of whole
networks to other networks, seed by seed and size by size (all such orders where they are few).
Six networks have 720 orders: no p can be smaller than a 720th, and with three none can be small.
Within networks (strata parted by network) the question is another one, whether of one network's
trainings those with the better score transfer better; there scores are shuffled within strata.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import islice, permutations
from math import factorial

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from hpcml.study.cells import NETWORK
from hpcml.study.study_tables import Line, Lines, adjust, pairs_in_out, values_of

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_BOOTSTRAPS = 2000
_SHUFFLES = 2000
_LEAST = 4
"""Observations of a stratum, fewer of which have no partial correlation to speak of."""


@dataclass(frozen=True)
class Claim:
    """The test's answer; NaN where it cannot be had.

    partial      the partial rank correlation
    low, high    its 95 % interval
    p            of the permutation test, two-sided
    plain        the rank correlation of score and transfer error with nothing taken off
    """

    partial: float
    low: float
    high: float
    p: float
    plain: float


def claim(lines: Lines) -> Lines:
    """claim.csv: the test for each attribution, score, and property (and all together).

    Networks without auxiliary targets alone, none of the controls; p_holm is Holm's over all
    tests of the table.
    """
    pairs = _pairs(lines)
    table: Lines = []
    attributions = dict.fromkeys(one["attribution"] for one in pairs if one["attribution"])
    properties = list(dict.fromkeys(one["target"] for one in pairs))
    for attribution in attributions:
        mine = [one for one in pairs if one["attribution"] == attribution]
        for targets in [properties, *([one] for one in properties if len(properties) > 1)]:
            some = [one for one in mine if one["target"] in targets]
            for score in ("score", "rank"):
                table += [_line(some, score, scope) for scope in ("between", "within")]
    adjust(table)
    return table


def _pairs(lines: Lines) -> Lines:
    pairs = [one for one in pairs_in_out(lines) if one["kind"] == NETWORK]
    return [one for one in pairs if not one["share_weight"] and "/" not in str(one["set"])]


def residuals(lines: Lines, attribution: str) -> Lines:
    """What the test holds against each other, for a picture: ranks of score and transfer error
    within strata, each less what the rank of the error at home says of it.

    lines    of grid.csv
    """
    pairs = [one for one in _pairs(lines) if one["attribution"] == attribution]
    values = np.stack(
        [values_of(pairs, column) for column in ("score_in", "mae_out", "mae_in")], axis=1
    ).reshape(-1, 3)
    known = np.isfinite(values).all(axis=1)
    pairs = [pair for pair, there in zip(pairs, known.tolist(), strict=True) if there]
    if not pairs:
        return []
    stratum = _codes([(one["target"], one["split"], one["set"]) for one in pairs])
    x, y, z = (_ranked(column, stratum) for column in values[known].T)
    x, y = (one - z * (one @ z) / max(z @ z, 1e-300) for one in (x, y))
    return [
        {"network": pair["network"], "target": pair["target"], "score": a, "error": b}
        for pair, a, b in zip(pairs, x.tolist(), y.tolist(), strict=True)
    ]


def _line(pairs: Lines, score: str, scope: str) -> Line:
    values = np.stack(
        [values_of(pairs, column) for column in (f"{score}_in", "mae_out", "mae_in")], axis=1
    ).reshape(-1, 3)
    known = np.isfinite(values).all(axis=1)
    pairs = [pair for pair, there in zip(pairs, known.tolist(), strict=True) if there]
    stratum = _codes([(one["target"], one["split"], one["set"]) for one in pairs])
    network = _codes([one["network"] for one in pairs])
    place = _codes([(one["train_rows"], one["seed"]) for one in pairs])
    found = held_against(
        *values[known].T, stratum=stratum, network=network, place=place, scope=scope
    )
    numbers = {name: getattr(found, name) for name in Claim.__dataclass_fields__}
    return {
        "attribution": pairs[0]["attribution"] if pairs else "",
        "targets": " ".join(dict.fromkeys(str(one["target"]) for one in pairs)),
        "score": score,
        "scope": f"{scope} networks",
        "observations": len(pairs),
        "networks": len(set(network.tolist())),
        **{name: float(x) if np.isfinite(x) else None for name, x in numbers.items()},
    }


def held_against(
    score: Floats,
    error_out: Floats,
    error_in: Floats,
    *,
    stratum: Integers,
    network: Integers,
    place: Integers,
    scope: str = "between",
    seed: int = 0,
) -> Claim:
    """Partial rank correlation of score and transfer error, its interval and p.

    Parameters
    ----------
    score, error_out, error_in : (n,) array
        Of each observation, all finite.
    stratum : (n,) integer array
        Property, split and set.
    network : (n,) integer array
        Whose it is.
    place : (n,) integer array
        Training size and seed: with the stratum, what an observation of another network is
        held against.
    scope : str
        "between" networks or "within".
    seed : int
        Of bootstrap and shuffles.
    """
    _, network = np.unique(network, return_inverse=True)
    matched = _codes(list(zip(stratum.tolist(), place.tolist(), strict=True)))
    if scope == "within":
        stratum = _codes(list(zip(stratum.tolist(), network.tolist(), strict=True)))
    large = np.bincount(stratum)[stratum] >= _LEAST if len(stratum) else np.empty(0, bool)
    score, error_out, error_in = score[large], error_out[large], error_in[large]
    stratum, network, matched = stratum[large], network[large], matched[large]
    nothing = Claim(*[float("nan")] * 5)
    if not len(score):
        return nothing
    _, network = np.unique(network, return_inverse=True)
    ranks = np.stack([_ranked(one, stratum) for one in (score, error_out, error_in)], axis=1)
    sums = _sums(ranks, stratum, network)
    networks = sums.shape[0]
    partial, plain = _partial(sums.sum(axis=0)[None])
    if not np.isfinite(partial[0]):
        return nothing
    random = np.random.default_rng(seed)
    drawn = random.integers(networks, size=(_BOOTSTRAPS, networks))
    counts = np.stack([np.bincount(one, minlength=networks) for one in drawn]).astype(float)
    again = _partial(np.einsum("bn,nsk->bsk", counts, sums))[0]
    again = again[np.isfinite(again)]
    low, high = np.quantile(again, [0.025, 0.975]) if networks > 1 else (np.nan, np.nan)
    if scope == "within":
        shuffled = _shuffled_within(ranks, stratum, random)
    else:
        shuffled = _dealt_to_networks(ranks, stratum, network, matched, random)
    return Claim(
        partial=float(partial[0]),
        low=float(low),
        high=float(high),
        p=_p(float(partial[0]), shuffled),
        plain=float(plain[0]),
    )


def _p(found: float, others: Floats) -> float:
    """How often chance is as far from zero; the order as it is counts among the others."""
    others = others[np.isfinite(others)]
    if len(others) < 2:
        return float("nan")
    return float(np.mean(np.abs(others) >= abs(found) - 1e-12))


def _codes(keys: Sequence[Hashable]) -> Integers:
    numbers = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    return np.array([numbers[key] for key in keys], dtype=np.int64)


def _ranked(values: Floats, stratum: Integers) -> Floats:
    """Ranks within strata, from -1/2 to 1/2."""
    ranks = np.zeros(len(values))
    for one in np.unique(stratum):
        mine = stratum == one
        ranks[mine] = (rankdata(values[mine]) - 0.5) / mine.sum() - 0.5
    return ranks


def _sums(ranks: Floats, stratum: Integers, network: Integers) -> Floats:
    """(networks, strata, 10): number, sums and products of (x, y, z), enough for any weights."""
    x, y, z = ranks.T
    terms = np.stack([np.ones_like(x), x, y, z, x * x, y * y, z * z, x * y, x * z, y * z])
    shape = int(network.max()) + 1, int(stratum.max()) + 1
    cell = network * shape[1] + stratum
    sums = [np.bincount(cell, term, shape[0] * shape[1]).reshape(shape) for term in terms]
    return np.stack(sums, axis=2)


def _partial(sums: Floats) -> tuple[Floats, Floats]:
    """(b,) partial and plain correlations, of (b, strata, 10) sums, centred within strata."""
    count = np.maximum(sums[..., 0], 1e-300)
    x, y, z = (sums[..., k] for k in (1, 2, 3))
    products = zip(
        (4, 5, 6, 7, 8, 9), ((x, x), (y, y), (z, z), (x, y), (x, z), (y, z)), strict=True
    )
    xx, yy, zz, xy, xz, yz = (
        (sums[..., k] - left * right / count).sum(axis=1) for k, (left, right) in products
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        r_xy, r_xz, r_yz = xy / np.sqrt(xx * yy), xz / np.sqrt(xx * zz), yz / np.sqrt(yy * zz)
        free = (1.0 - r_xz**2) * (1.0 - r_yz**2)
        partial = np.where(free > 1e-12, (r_xy - r_xz * r_yz) / np.sqrt(free), np.nan)
    return partial, r_xy


def _of(ranks: Floats, stratum: Integers) -> float:
    return float(_partial(_sums(ranks, stratum, np.zeros_like(stratum)).sum(axis=0)[None])[0][0])


def _shuffled_within(ranks: Floats, stratum: Integers, random: np.random.Generator) -> Floats:
    found = [_of(ranks, stratum)]
    for _ in range(_SHUFFLES):
        order = np.lexsort((random.random(len(stratum)), stratum))
        here = np.argsort(stratum, kind="stable")
        mixed = ranks.copy()
        mixed[here, 0] = ranks[order, 0]
        found.append(_of(mixed, stratum))
    return np.array(found)


def _dealt_to_networks(
    ranks: Floats,
    stratum: Integers,
    network: Integers,
    matched: Integers,
    random: np.random.Generator,
) -> Floats:
    """The partial correlation under each order of the networks, the order as it is first.

    An observation whose partner was not trained at that size and seed is left out.
    """
    count = int(network.max()) + 1
    _, matched = np.unique(matched, return_inverse=True)
    scores = np.full((count, int(matched.max()) + 1), np.nan)
    scores[network, matched] = ranks[:, 0]
    if factorial(count) <= _SHUFFLES:
        orders = [np.array(one) for one in permutations(range(count))]
    else:
        orders = [np.arange(count), *(random.permutation(count) for _ in range(_SHUFFLES))]
    found = []
    for order in islice(orders, _SHUFFLES + 1):
        dealt = ranks.copy()
        dealt[:, 0] = scores[order][network, matched]
        there = np.isfinite(dealt[:, 0])
        found.append(_of(dealt[there], stratum[there]) if there.sum() > 3 else np.nan)
    return np.array(found)
