"""What can be known of the shares without any network: controls and ceilings of the reasons score.

    python benchmarks/reasons_ceiling.py [DATASET] [--targets alpha_iso beta_parallel]

For each target whose shares the data set has, on the molecules at hand: how far every control
agrees with the shares, within molecules, as they are and less the elements' means, pooled and by
rank; and what a sum over atoms knows of them that was fitted to the totals of three molecules of
four, on the fourth.  No network needs to be better than a ceiling, and none is good that is not
better than a control.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from hpcml.analysis.atom_traits import AtomTraits
from hpcml.analysis.controls import additive_fit, controls
from hpcml.analysis.perception import Perceived
from hpcml.analysis.reasons import Floats, Score, molecule_of, reasons_score
from hpcml.molecules import constitutions
from hpcml.store import Dataset
from hpcml.training import Target

STUDY = Path(__file__).parents[1] / "jobs" / "study" / "small"


def told(name: str, composition: str, score: Score) -> str:
    """A line of the table."""
    return (
        f"{name:<26}{composition:<10}{score.correlation:>8.2f}"
        f"{f'{score.low:.2f} to {score.high:.2f}':>17}{score.rank:>8.2f}"
        f"{f'{score.rank_low:.2f} to {score.rank_high:.2f}':>17}{score.molecules:>7}"
    )


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("dataset", type=Path, nargs="?", default=STUDY)
    words.add_argument("--targets", nargs="+", default=["alpha_iso", "beta_parallel"])
    chosen = words.parse_args()
    dataset = Dataset.open(chosen.dataset)
    perceived = Perceived(dataset.molecules, dataset.atom_offsets)
    traits = AtomTraits(dataset.column("numbers").astype(np.int64), perceived)
    states = np.stack([dataset.column("charge"), dataset.column("multiplicity")], axis=1)
    constitution = constitutions(
        traits.numbers, dataset.column("positions"), traits.offsets, states
    )
    tested = np.arange(len(dataset)) % 4 == 0
    atoms = tested[molecule_of(traits.offsets)]
    for name in chosen.targets:
        target = Target(name=name)
        share = dataset.column(target.share_name)
        scored: dict[str, Floats] = controls(traits, share, constitution)
        fit = additive_fit(traits, target.values(dataset), ~tested)
        if fit is not None:
            scored["additive fit"] = fit.atoms
        second = f"{target.share_name}_loewdin"
        if second in dataset.columns:
            scored["second partition"] = dataset.column(second)
        print(f"\n{name}, {len(dataset)} molecules, every fourth scored")
        print(f"{'':<26}composition{'pooled':>7}{'interval':>17}{'by rank':>8}{'interval':>17}")
        for what, values in scored.items():
            for composition, kinds in (("removed", traits.numbers), ("kept", None)):
                score = reasons_score(values, share, traits.offsets, kinds=kinds, counts=atoms)
                print(told(what, composition, score))


if __name__ == "__main__":
    main()
