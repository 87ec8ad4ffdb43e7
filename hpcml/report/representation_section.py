"""What the page shows of the tables of ``hpcml analyze --representations``, where they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hpcml.report.facts import Carried, Inside, Table
from hpcml.report.run_files import Columns
from hpcml.report.words import number

MOST_LABELS = 22  # in the figure and the table of a level
_LEAST = 0.1  # of R2: labels that explain less of every direction are not in the figure
_PROBES_NOTE = (
    "What one affine map reads off the vectors of molecules it has not seen: area under the ROC "
    "curve (chance 0.5) of kinds, R2 (chance 0) of numbers. Untrained: the same network with its "
    "first weights. Stratum alone: labels shuffled within an element, or among molecules of as "
    "many heavy atoms. Shuffled: among all. Learned is what stands above all three."
)
_LOST_NOTE = (
    "Share of the variance that is not given back from a middle of this width; 0 is perfect, 1 no "
    "better than the mean. Both were fitted to half of the molecules."
)


def inside(folder: Path) -> Inside | None:
    """The directions and the tables of an analysis folder; None where it has none."""
    of = carried(folder)
    probed = Columns(folder / "representation_probes.csv")
    lost = Columns(folder / "representation_reconstruction.csv")
    if not of or not probed:
        return None
    return Inside(of, (_probe_table(probed), *((_lost_table(lost),) if lost else ())))


def carried(folder: Path) -> tuple[Carried, ...]:
    """What the directions of each level carry; nothing where there are no tables."""
    directions = Columns(folder / "representation_directions.csv")
    labels = Columns(folder / "representation_labels.csv")
    if not directions or not labels:
        return ()
    levels = directions.texts("level")
    shares, vectors = directions.numbers("variance"), directions.numbers("vectors")
    found = []
    for level in dict.fromkeys(levels):
        mine = [row for row, name in enumerate(levels) if name == level]
        found.append(
            Carried(
                level,
                int(vectors[mine[0]]),
                tuple(shares[mine].tolist()),
                _labels(labels, level, len(mine)),
            )
        )
    return tuple(found)


def _labels(
    columns: Columns, level: str, directions: int
) -> tuple[tuple[str, tuple[float, ...]], ...]:
    """Those that explain most of some direction, in the order of the table."""
    rows = [row for row, name in enumerate(columns.texts("level")) if name == level]
    every, r2, direction = (
        columns.texts("label"), columns.numbers("r2"), columns.numbers("direction")
    )  # fmt: skip
    names = list(dict.fromkeys(every[row] for row in rows))
    values = np.zeros((len(names), directions))
    for row in rows:
        values[names.index(every[row]), int(direction[row]) - 1] = max(r2[row], 0.0)
    best = values.max(axis=1, initial=0.0)
    chosen = np.sort(np.argsort(-best, kind="stable")[:MOST_LABELS])
    return tuple((names[k], tuple(values[k].tolist())) for k in chosen if best[k] >= _LEAST)


def _probe_table(columns: Columns) -> Table:
    level, vectors, label = (columns.texts(name) for name in ("level", "vectors", "label"))
    score, spread, shuffled, within = (
        columns.numbers(name) for name in ("score", "std_over_folds", "shuffled", "shuffled_within")
    )
    untrained = {
        (level[row], label[row]): score[row]
        for row in range(len(level))
        if vectors[row] == "untrained network"
    }
    rows = [row for row in range(len(level)) if vectors[row] == "network"]
    shown = tuple(
        (
            label[row],
            level[row],
            columns.texts("measure")[row],
            f"{number(score[row], 2)} ± {number(spread[row], 2)}",
            number(untrained.get((level[row], label[row]), np.nan), 2),
            number(within[row], 2),
            number(shuffled[row], 2),
        )
        for row in rows
    )
    heading = ("label", "of", "measure", "network", "untrained", "stratum alone", "shuffled")
    return Table("What can be read off the network's vectors", heading, shown, _PROBES_NOTE)


def _lost_table(columns: Columns) -> Table:
    fitted, held_out = columns.numbers("fitted"), columns.numbers("held_out")
    texts = [columns.texts(name) for name in ("method", "level", "width")]
    rows = tuple(
        (*words, number(fitted[row], 3), number(held_out[row], 3))
        for row, words in enumerate(zip(*texts, strict=True))
    )
    heading = ("method", "of", "width", "lost, fitted", "lost, held out")
    return Table("Through a narrow middle", heading, rows, _LOST_NOTE)
