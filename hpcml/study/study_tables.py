"""The tables of a study, from the results of its cells; pure functions of lists of lines.

A line is a dict from column to text, number or None.  Errors and scores of one quantity and set
are told with their interval over molecules where they are one network's, and with their mean and
spread where they are several seeds'.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from hpcml.study.cells import NETWORK
from hpcml.study.results import Result, SetScore

Line = dict[str, Any]
Lines = list[Line]

SAME = ("network", "target", "split", "train_rows", "share_weight", "kind")
"""What cells that differ by their seed alone have in common."""
SCORES = ("score", "low", "high", "rank", "rank_low", "rank_high", "score_kept", "rank_kept",
          "rank_merged", "cancellation")  # fmt: skip

_FIRST = ("auto", "integrated_gradients", "gradient_times_input")


def grid(results: Iterable[Result]) -> Lines:
    """grid.csv: one line a cell, evaluation set and attribution; without scores, one a set."""
    lines: Lines = []
    for result in results:
        cell = result.cell
        of_cell = {
            "network": cell.network,
            "target": cell.target,
            "unit": result.unit,
            "split": cell.split,
            "train_rows": result.train_rows,
            "seed": cell.seed,
            "share_weight": cell.share_weight,
            "kind": cell.kind,
        }
        for error in result.errors:
            judged = {
                "set": error.set,
                "role": error.role,
                "molecules": error.molecules,
                "mae": error.mae,
                "r2": error.r2,
            }
            scores = [score for score in result.scores if score.set == error.set]
            alone: list[SetScore | None] = [None]
            for score in list(scores) or alone:
                lines.append(
                    {
                        **of_cell,
                        **judged,
                        "attribution": score.attribution if score else "",
                        "rule": score.rule if score else "",
                        "explained": score.explained if score else 0,
                        **{name: getattr(score, name, None) for name in SCORES},
                        "train_seconds": result.train_seconds,
                        "explain_seconds": result.explain_seconds,
                    }
                )
    return lines


def grouped(lines: Iterable[Line], columns: Sequence[str]) -> dict[tuple[Hashable, ...], Lines]:
    """Lines that have the same in these columns, in the order of the first of each."""
    found: dict[tuple[Hashable, ...], Lines] = defaultdict(list)
    for line in lines:
        found[tuple(line[column] for column in columns)].append(line)
    return dict(found)


def largest(lines: Lines, columns: Sequence[str]) -> Lines:
    """Of the lines that have the same in these columns, those of the largest training set."""
    most = {
        key: max(one["train_rows"] for one in same) for key, same in grouped(lines, columns).items()
    }
    return [one for one in lines if one["train_rows"] == most[tuple(one[c] for c in columns)]]


def headline(lines: Lines) -> str:
    """The attribution that is shown where one is: "auto" where there is one."""
    found = list(dict.fromkeys(str(one["attribution"]) for one in lines if one["attribution"]))
    return next((name for name in _FIRST if name in found), found[0] if found else "")


def values_of(lines: Iterable[Line], column: str) -> NDArray[np.float64]:
    """A column's numbers; NaN where there is none.

    Returns
    -------
    (n,) array
    """
    return np.array([np.nan if line[column] is None else line[column] for line in lines], float)


def mean_and_spread(values: NDArray[np.float64]) -> tuple[float | None, float | None]:
    """Mean and standard deviation of what is finite; None of none, and of one.

    Parameters
    ----------
    values : (n,) array
    """
    known = values[np.isfinite(values)]
    mean = float(known.mean()) if len(known) else None
    return mean, float(known.std(ddof=1)) if len(known) > 1 else None


def interval_of_mean(values: NDArray[np.float64]) -> tuple[float | None, float | None]:
    """Student's 95 % interval of the mean; None of fewer than two.

    Parameters
    ----------
    values : (n,) array
    """
    known = values[np.isfinite(values)]
    if len(known) < 2:
        return None, None
    width = float(stats.t.ppf(0.975, len(known) - 1) * known.std(ddof=1) / len(known) ** 0.5)
    return float(known.mean()) - width, float(known.mean()) + width


def seeds(lines: Lines) -> Lines:
    """seeds.csv: mean and spread over the seeds, beside the interval over molecules."""
    table: Lines = []
    keys = (*SAME, "set", "role", "attribution")
    for key, same in grouped(lines, keys).items():
        line: Line = {**dict(zip(keys, key, strict=True)), "unit": same[0]["unit"]}
        line["seeds"] = len(same)
        for column in ("mae", "r2", "score", "rank", "score_kept", "rank_merged", "cancellation"):
            line[f"{column}_mean"], line[f"{column}_sd"] = mean_and_spread(values_of(same, column))
        for column, low, high in (("score", "low", "high"), ("rank", "rank_low", "rank_high")):
            half = (values_of(same, high) - values_of(same, low)) / 2.0
            line[f"{column}_half_interval"] = mean_and_spread(half)[0]
        rules = sorted({str(one["rule"]) for one in same})
        table.append({**line, "rule": " ".join(rules)})
    return table


def pairs_in_out(lines: Lines) -> Lines:
    """A line for each cell, attribution and set of another kind of molecules: the network's error
    and score on that set, beside those on molecules like its training molecules.

    Of a random split these are the test molecules, of others the validation molecules.
    """
    table: Lines = []
    keys = (*SAME, "seed", "attribution")
    for same in grouped(lines, keys).values():
        alike = [one for one in same if one["role"] == "in"]
        if not alike:
            continue
        home = max(alike, key=lambda one: str(one["set"]) == "test")
        for other in same:
            if other["role"] == "out":
                table.append(
                    {
                        **{key: other[key] for key in keys},
                        "unit": other["unit"],
                        "set": other["set"],
                        "set_in": home["set"],
                        "mae_in": home["mae"],
                        "mae_out": other["mae"],
                        "score_in": home["score"],
                        "score_out": other["score"],
                        "rank_in": home["rank"],
                        "rank_out": other["rank"],
                    }
                )
    return table


def transfer(lines: Lines) -> Lines:
    """transfer.csv: error and score on other molecules, their ratio and drift, over the seeds."""
    table: Lines = []
    pairs = [pair for pair in pairs_in_out(lines) if pair["kind"] == NETWORK]
    keys = (*SAME, "attribution", "set", "set_in")
    for key, same in grouped(pairs, keys).items():
        line: Line = {**dict(zip(keys, key, strict=True)), "unit": same[0]["unit"]}
        line["seeds"] = len(same)
        for column in ("mae_in", "mae_out", "score_in", "score_out", "rank_in", "rank_out"):
            line[column], line[f"{column}_sd"] = mean_and_spread(values_of(same, column))
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = values_of(same, "mae_out") / values_of(same, "mae_in")
        line["error_ratio"] = mean_and_spread(ratio)[0]
        drift = values_of(same, "score_out") - values_of(same, "score_in")
        line["score_drift"] = mean_and_spread(drift)[0]
        line["score_drift_low"], line["score_drift_high"] = interval_of_mean(drift)
        table.append(line)
    return table


def causal(lines: Lines) -> Lines:
    """causal.csv: with the shares as auxiliary targets less without, paired by seed.

    The quantity "mae" is the error; "score" and "rank" are the attribution's.  p is of the paired
    t test, p_holm after Holm over all lines of its quantity: whether errors fall is one question,
    what the attributions say another.
    """
    table: Lines = []
    trained = [line for line in lines if line["kind"] == NETWORK]
    keys = ("network", "target", "split", "train_rows", "set", "role", "attribution")
    told = set()
    for key, same in grouped(trained, keys).items():
        plain = {one["seed"]: one for one in same if not one["share_weight"]}
        weights = sorted({one["share_weight"] for one in same if one["share_weight"]})
        for weight in weights:
            taught = {one["seed"]: one for one in same if one["share_weight"] == weight}
            common = sorted(plain.keys() & taught.keys())
            for quantity in ("mae", "score", "rank"):
                attribution = "" if quantity == "mae" else key[-1]
                mark = (*key[:-1], attribution, weight, quantity)
                if not common or mark in told:
                    continue
                told.add(mark)
                line = _paired(quantity, [plain[s] for s in common], [taught[s] for s in common])
                if line:
                    head = {**dict(zip(keys, key, strict=True)), "attribution": attribution}
                    unit = same[0]["unit"] if quantity == "mae" else ""
                    table.append({**head, "share_weight": weight, **line, "unit": unit})
    for same in grouped(table, ("quantity",)).values():
        adjust(same)
    return table


def _paired(quantity: str, without: Lines, with_shares: Lines) -> Line:
    before, after = values_of(without, quantity), values_of(with_shares, quantity)
    known = np.isfinite(before) & np.isfinite(after)
    before, after = before[known], after[known]
    if not len(before):
        return {}
    difference = after - before
    low, high = interval_of_mean(difference)
    p = None
    if len(difference) > 1 and np.ptp(difference) > 0:
        p = float(stats.ttest_rel(after, before).pvalue)
    return {
        "quantity": quantity,
        "pairs": len(difference),
        "without": float(before.mean()),
        "with": float(after.mean()),
        "difference": float(difference.mean()),
        "low": low,
        "high": high,
        "relative": float(difference.mean() / before.mean()) if before.mean() else None,
        "p": p,
    }


def adjust(lines: Lines) -> None:
    """Give each line its p_holm: p after Holm over all of them."""
    for line, p in zip(lines, holm(values_of(lines, "p")).tolist(), strict=True):
        line["p_holm"] = p if np.isfinite(p) else None


def holm(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """S. Holm's adjustment for several tests (Scand. J. Stat. 6, 65 (1979)).

    Parameters
    ----------
    p : (n,) array
        NaN where no test was made.

    Returns
    -------
    (n,) array
    """
    adjusted = np.full(len(p), np.nan)
    made = np.flatnonzero(np.isfinite(p))
    order = made[np.argsort(p[made], kind="stable")]
    steps = p[order] * (len(order) - np.arange(len(order)))
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted
