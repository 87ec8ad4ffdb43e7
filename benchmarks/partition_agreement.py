"""How far two partitions of the same densities agree: what no network can be asked to exceed.

    python benchmarks/partition_agreement.py [DATASET]

DATASET has shares of Hirshfeld's partition and of Loewdin's (`jobs/study_partitions.toml`); the
shipped one unless given.  The agreement is the reasons score, as of a network's relevances.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

import hpcml
from hpcml.analysis import reasons_score
from hpcml.molecules import symbol

SHIPPED = Path(__file__).resolve().parents[1] / "jobs" / "study" / "partitions"


def main() -> None:
    """Print the table."""
    data = hpcml.open(sys.argv[1] if len(sys.argv) > 1 else SHIPPED)
    numbers, offsets = data.column("numbers").astype(np.int64), data.atom_offsets
    print(f"{len(data)} molecules; 95 % intervals over molecules")
    print("| property | atoms | composition | pooled | by rank | molecules |")
    print("|---|---|---|---|---|---|")
    for name in ("alpha_iso", "beta_parallel"):
        ours, theirs = (data.column(f"share_{name}{end}") for end in ("", "_loewdin"))
        chosen = {"all": np.ones(len(numbers), bool), "heavy": numbers > 1}
        chosen |= {symbol(int(z)): numbers == z for z in np.unique(numbers)}
        for atoms, counts in chosen.items():
            for kept, kinds in (("kept", None), ("removed", numbers)):
                if kept == "removed" and atoms not in ("all", "heavy"):
                    continue
                found = reasons_score(theirs, ours, offsets, kinds=kinds, counts=counts)
                pooled = f"{found.correlation:.2f} ({found.low:.2f} to {found.high:.2f})"
                ranked = f"{found.rank:.2f} ({found.rank_low:.2f} to {found.rank_high:.2f})"
                print(f"| {name} | {atoms} | {kept} | {pooled} | {ranked} | {found.molecules} |")


if __name__ == "__main__":
    main()
