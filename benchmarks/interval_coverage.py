"""Do the intervals of the reasons score and of matched pairs cover what they say?

Molecules are drawn from a population whose scores are known (from 40,000 of them), again and again;
a 95 % interval should hold the population's score in 95 of 100 draws.  Three populations: alike
molecules; molecules whose values scatter by factors, in which the pooled score hangs on few; and
molecules of which one in ten is told wrongly (its relevance has the other sign).
"""

from __future__ import annotations

import argparse

import numpy as np
from numpy.typing import NDArray

from hpcml.analysis.matched_pairs import pairs_summary
from hpcml.analysis.reasons import molecule_of, reasons_score

SIZES = (3, 4, 5, 6, 8, 12, 20, 50)
POPULATIONS = ("alike", "scattered", "one in ten wrong")
MEMBERS = 40_000
Drawn = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]


def draw(kind: str, random: np.random.Generator, molecules: int) -> Drawn:
    """Relevance, share, kind of atom and offsets of molecules of 4 to 18 atoms."""
    sizes = random.integers(4, 19, molecules)
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    molecule = molecule_of(offsets)
    spread = 0.0 if kind == "alike" else 0.5
    scale = np.exp(spread * random.normal(size=molecules))[molecule]
    wrong = kind == "one in ten wrong"
    sign = np.where(wrong & (random.random(molecules) < 0.1), -1.0, 1.0)[molecule]
    share = random.normal(size=offsets[-1])
    relevance = sign * (0.6 * share + 0.8 * random.normal(size=offsets[-1]))
    return scale * relevance, scale * share, random.choice([1, 6, 8], offsets[-1]), offsets


def scores(kind: str, draws: int) -> list[str]:
    """A line of coverages for each number of molecules: pooled, by rank; composition taken off."""
    relevance, share, kinds, offsets = draw(kind, np.random.default_rng(1), MEMBERS)
    truth = reasons_score(relevance, share, offsets, kinds=kinds)
    lines = []
    for molecules in SIZES:
        random = np.random.default_rng(molecules)
        held = np.zeros((draws, 2), dtype=bool)
        width = np.zeros((draws, 2))
        for place in range(draws):
            relevance, share, kinds, offsets = draw(kind, random, molecules)
            one = reasons_score(relevance, share, offsets, kinds=kinds)
            held[place] = (
                one.low <= truth.correlation <= one.high,
                one.rank_low <= truth.rank <= one.rank_high,
            )
            width[place] = one.high - one.low, one.rank_high - one.rank_low
        pooled, ranked = held.mean(axis=0)
        wide = np.median(width, axis=0)
        lines.append(
            f"{kind:<18}{molecules:>10}{pooled:>10.3f}{wide[0]:>8.2f}{ranked:>10.3f}{wide[1]:>8.2f}"
        )
    return lines


def matched(draws: int) -> list[str]:
    """Of pairs that have no molecule in common, and as if all pairs were independent."""
    lines = []
    for molecules in (12, 20, 50):
        held = apart = 0
        random = np.random.default_rng(molecules)
        for _ in range(draws):
            truth = random.normal(size=molecules)
            told = 0.6 * truth + 0.8 * random.normal(size=molecules)
            ends = random.permutation(molecules)
            hub = ends[0]  # one molecule has a pair with a third of the others
            pairs = [(hub, other) for other in ends[1 : molecules // 3]]
            pairs += list(zip(ends[1::2], ends[2::2], strict=False))
            table: list[dict[str, object]] = [
                {
                    **{"part": "test", "from": int(a), "to": int(b), "changed": "", "into": ""},
                    **{"property": truth[b] - truth[a], "relevance_changed": told[b] - told[a]},
                }
                for a, b in pairs
            ]
            line = pairs_summary(table, ["all"])[0]
            apart += int(str(line["pairs"]))
            held += float(str(line["low"])) <= 0.6 <= float(str(line["high"]))
        lines.append(f"{'matched pairs':<18}{apart / draws:>10.1f}{held / draws:>10.3f}")
    return lines


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--draws", type=int, default=2000, help="of each size (default 2000)")
    draws = words.parse_args().draws
    print(f"standard error of a coverage of 0.95: {(0.95 * 0.05 / draws) ** 0.5:.3f}")
    print(
        f"{'population':<18}{'molecules':>10}{'pooled':>10}{'width':>8}{'by rank':>10}{'width':>8}"
    )
    for kind in POPULATIONS:
        print("\n".join(scores(kind, draws)), flush=True)
    print(f"{'':<18}{'pairs':>10}{'covered':>10}")
    print("\n".join(matched(draws)))


if __name__ == "__main__":
    main()
