"""The tables of a run's analysis, made ready for the page."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hpcml.report.facts import Averages, Reasons, Table
from hpcml.report.run_files import Columns
from hpcml.report.words import LEDGER_WORDS, number

_MOST_GROUPS = 14
_REASONS_NOTE = (
    "Pearson correlation of relevance with the share that the physics assigns to the same atom, "
    "within molecules, with 95 % intervals from a bootstrap over molecules. Composition removed: "
    "what the elements are worth on average is taken off as well."
)


def averages(folder: Path, unit: str) -> tuple[Averages, ...]:
    """Mean relevances by element and by functional group, where elements.csv, groups.csv are."""
    found = []
    for file, kind, title, per in (
        ("elements.csv", "element", "By element", "atom"),
        ("groups.csv", "group", "By functional group and ring", "group"),
    ):
        columns = Columns(folder / file)
        if not columns:
            continue
        counts = columns.numbers("count").astype(np.int64)
        shown = np.sort(np.argsort(-counts, kind="stable")[:_MOST_GROUPS])
        names = columns.texts(kind)
        found.append(
            Averages(
                title=title,
                unit=unit,
                per=per,
                names=tuple(names[row] for row in shown),
                counts=counts[shown],
                mean=columns.numbers("relevance_mean")[shown],
                spread=columns.numbers("relevance_std")[shown],
                shares=columns.numbers("share_mean")[shown] if "share_mean" in columns else None,
            )
        )
    return tuple(found)


def reasons(folder: Path) -> Reasons | None:
    """The reasons score, on the test molecules where there are any, where reasons.csv is."""
    columns = Columns(folder / "reasons.csv")
    if not columns:
        return None
    parts, of = columns.texts("part"), columns.texts("of")
    composition = columns.texts("composition")
    correlation, low, high = (columns.numbers(name) for name in ("correlation", "low", "high"))
    mae, atoms = columns.numbers("mae"), columns.numbers("atoms")
    headline = {
        part: row
        for row, part in enumerate(parts)
        if (of[row], composition[row]) == ("all atoms", "removed")
    }
    chosen = headline.get("test", headline.get("all", 0))
    rows = tuple(
        (
            of[row],
            parts[row],
            composition[row],
            number(correlation[row], 2),
            f"{number(low[row], 2)} to {number(high[row], 2)}",
            f"{atoms[row]:,.0f}",
            number(mae[row]),
        )
        for row in range(len(parts))
        if parts[row] in ("all", "test") and not of[row].startswith("molecules with")
    )
    heading = ("atoms of", "molecules of", "composition", "score", "95 % interval", "atoms", "MAE")
    return Reasons(
        part=parts[chosen],
        correlation=float(correlation[chosen]),
        low=float(low[chosen]),
        high=float(high[chosen]),
        table=Table("Reasons score", heading, rows, _REASONS_NOTE),
    )


def conservation(folder: Path, unit: str) -> tuple[Table, ...]:
    """Where the predictions went, over all molecules, where conservation.csv is."""
    columns = Columns(folder / "conservation.csv")
    if not columns:
        return ()
    values = [columns.numbers(n) for n in ("mean", "mean_absolute", "largest_absolute")]
    rows = tuple(
        (LEDGER_WORDS.get(term, (term,))[0], *(number(column[row]) for column in values))
        for row, term in enumerate(columns.texts("term"))
    )
    heading = ("term", f"mean / {unit}", "mean absolute", "largest absolute")
    note = "Prediction = atoms + ledger + closure, molecule by molecule; closure is rounding."
    return (Table("Where the predictions went", heading, rows, note),)
