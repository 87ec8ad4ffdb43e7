"""The test of the claim finds what is planted, and does not find what is not there."""

import numpy as np
import pytest
from scipy import stats

from hpcml.study.claim import claim, held_against
from hpcml.study.study_tables import holm

Line = dict[str, object]


def grid(random: np.random.Generator, *, effect: float, networks: int = 6) -> list[Line]:
    """Lines of trained networks: a trait of each network moves its score, and by ``effect`` its
    transfer error; error at home and size move both errors."""
    lines: list[Line] = []
    for number in range(networks):
        skill, reasons = random.normal(size=2)
        for target in ("alpha_iso", "beta_parallel"):
            for size in (50, 100, 200):
                for seed in (1, 2, 3):
                    score = 0.5 + 0.1 * reasons + 0.02 * random.normal()
                    home = np.exp(0.3 * skill - 0.5 * np.log(size) + 0.02 * random.normal())
                    away = home * np.exp(-effect * 0.3 * reasons + 0.02 * random.normal())
                    for name, role, error in (("test", "in", home), ("large", "out", away)):
                        lines.append(
                            {
                                "network": f"n{number}",
                                "target": target,
                                "unit": "a0^3",
                                "split": "random",
                                "train_rows": size,
                                "seed": seed,
                                "share_weight": 0.0,
                                "kind": "network",
                                "set": name,
                                "role": role,
                                "mae": error,
                                "attribution": "gamma",
                                "score": score,
                                "rank": score,
                            }
                        )
    return lines


def between(lines: list[Line]) -> list[dict[str, object]]:
    return [one for one in claim(lines) if one["scope"] == "between networks"]


def test_a_planted_relation_is_found() -> None:
    for one in between(grid(np.random.default_rng(1), effect=1.0)):
        assert one["partial"] < -0.6 and one["high"] < -0.3, one
        assert one["p"] <= 0.02
        assert one["networks"] == 6


def test_an_absent_relation_is_not_found_more_often_than_chance_would() -> None:
    """One attribution and score, one test each time, of 60 studies without any relation; a test
    that took all cells for independent draws would call most of these a finding."""
    found, naive = 0, 0
    for seed in range(60):
        lines = grid(np.random.default_rng(seed + 100), effect=0.0, networks=5)
        # networks differ in their transfer for a reason that has nothing to do with the score
        random = np.random.default_rng(seed)
        luck = {f"n{number}": float(random.normal()) for number in range(5)}
        for line in lines:
            if line["role"] == "out":
                line["mae"] = float(line["mae"]) * np.exp(0.3 * luck[str(line["network"])])  # type: ignore[arg-type]
        away = [one for one in lines if one["role"] == "out" and one["target"] == "alpha_iso"]
        home = [one for one in lines if one["role"] == "in" and one["target"] == "alpha_iso"]
        columns = [
            np.array([float(one[name]) for one in some])  # type: ignore[arg-type]
            for some, name in ((home, "score"), (away, "mae"), (home, "mae"))
        ]
        networks = np.array([int(str(one["network"])[1:]) for one in home])
        places = np.array([int(one["train_rows"]) * 10 + int(one["seed"]) for one in home])  # type: ignore[call-overload]
        answer = held_against(
            *columns, stratum=np.zeros(len(home), int), network=networks, place=places
        )
        found += answer.p < 0.05
        naive += stats.spearmanr(columns[0], columns[1] / columns[2]).pvalue < 0.05
    assert found <= 7  # of a binomial of 60 and 0.05, 99.5 % lie below
    assert naive > 30


def test_the_partial_correlation_is_that_of_residuals() -> None:
    random = np.random.default_rng(3)
    z = random.normal(size=200)
    x, y = z + random.normal(size=200), -z + 0.5 * random.normal(size=200)
    answer = held_against(
        x, y, z,
        stratum=np.zeros(200, int), network=np.arange(200) % 4, place=np.arange(200) // 4,
    )  # fmt: skip
    rx, ry, rz = (stats.rankdata(one) for one in (x, y, z))
    left = [one - np.polyval(np.polyfit(rz, one, 1), rz) for one in (rx, ry)]
    assert answer.partial == pytest.approx(np.corrcoef(left)[0, 1], abs=1e-10)
    assert answer.plain == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-10)


def test_one_network_is_no_test() -> None:
    answer = between(grid(np.random.default_rng(1), effect=1.0, networks=1))
    assert {one["p"] for one in answer} == {None} and {one["low"] for one in answer} == {None}


def test_holm_s_own_example() -> None:
    """Of four tests the second smallest times three, never less than the one before."""
    adjusted = holm(np.array([0.01, 0.04, 0.03, 0.005, np.nan]))
    assert adjusted[:4] == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert np.isnan(adjusted[4])
