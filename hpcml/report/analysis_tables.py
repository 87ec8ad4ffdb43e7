"""The tables of a run's analysis, made ready for the page."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from hpcml.analysis.analyze_stage import CANCELLATION
from hpcml.analysis.controls import CEILINGS
from hpcml.analysis.reasons_table import ALL_ATOMS, MERGED, NETWORK, headline_composition
from hpcml.relevance.ledger import LEDGER, MOSTLY_CANCELLATION
from hpcml.report.facts import Averages, Reasons, ScoreLine, Table
from hpcml.report.run_files import Columns
from hpcml.report.words import LEDGER_WORDS, number

CONSERVATION = "Where the predictions went"
_MOST_GROUPS = 14
_REASONS_NOTE = (
    "Agreement of relevance with the share that the physics assigns to the same atom, within "
    "molecules, with 95 % intervals over molecules. Score: Pearson correlation of all atoms. By "
    "rank: mean of the molecules' rank correlations, which one odd molecule hardly moves. "
    "Composition removed: what the elements are worth on average is taken off as well. Below "
    "stand controls, which know nothing of the molecule, or one simple thing, and ceilings: what "
    "a sum over atoms fitted to the molecules' values knows of the shares, and how far a second "
    "way of dividing the molecule agrees with the first. A score is good where it is above the "
    "controls, not where it is above zero: the differences are means over molecules, p is Holm's "
    "for all that are compared. One interval in twenty misses; intervals for all of the network's "
    "lines together stand in reasons.csv (rank_low_all, rank_high_all)."
)
_PAIRS_NOTE = (
    "Two molecules {part} that are the same but for one group. Agreement: correlation of the two "
    "changes, a pair being worth the same either way round; carried: how much of the first change "
    "there is for each unit of the second, 1 where the group carries all of it. The interval is "
    "over pairs that have no molecule in common. Kind of change removed: what knowing both groups "
    "tells (methyl for hydrogen, say) is taken off."
)
_CHANGES = {
    "property": "the property",
    "prediction": "the prediction",
    "relevance_changed": "relevance on the group",
    "share_changed": "share on the group",
}
_CONSERVATION_NOTE = (
    "Prediction = atoms + ledger + closure, molecule by molecule; closure is rounding. The last "
    "line says how much larger the parts of an explanation are than what they add up to: 1 is "
    "none of them against another."
)
_MOSTLY_CANCELLATION_NOTE = (
    " Mostly cancellation: from {limit:g} on, colours on atoms tell more of the rule than of the "
    "molecule."
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
    parts, of, scored = (columns.texts(name) for name in ("part", "of", "scored"))
    composition = columns.texts("composition")
    mae, atoms = columns.numbers("mae"), columns.numbers("atoms")
    pooled, ranked = (
        list(zip(*(columns.numbers(name).tolist() for name in names), strict=True))
        for names in (("correlation", "low", "high"), ("rank", "rank_low", "rank_high"))
    )
    told_by = headline_composition(set(composition))
    headline = {
        part: row
        for row, part in enumerate(parts)
        if (of[row], composition[row], scored[row]) == (ALL_ATOMS, told_by, NETWORK)
    }
    chosen = headline.get("test", headline.get("all", 0))
    differences = _differences(folder, parts[chosen])

    def is_shown(row: int) -> bool:
        if scored[row] == NETWORK:
            return parts[row] in ("all", "test") and not of[row].startswith("molecules with")
        beside = of[row] in (ALL_ATOMS, MERGED) and composition[row] == told_by
        return beside and parts[row] == parts[chosen]

    rows = tuple(
        (
            of[row]
            if scored[row] == NETWORK
            else f"{_kind(scored[row])}: {scored[row]} ({of[row]})",
            parts[row],
            composition[row],
            *_score(*pooled[row]),
            *_score(*ranked[row]),
            differences.get((of[row], composition[row], scored[row]), ""),
            f"{atoms[row]:,.0f}",
            number(mae[row]),
        )
        for row in sorted(filter(is_shown, range(len(parts))), key=lambda row: _place(scored[row]))
    )
    heading = ("atoms of", "molecules of", "composition", "score", "95 % interval", "by rank",
               "its interval", "network less it, by rank", "atoms", "MAE")  # fmt: skip
    correlation, low, high = pooled[chosen]
    return Reasons(
        part=parts[chosen],
        correlation=correlation,
        low=low,
        high=high,
        table=Table("Reasons score", heading, rows, _REASONS_NOTE),
        lines=tuple(
            ScoreLine(
                name="the network" if scored[row] == NETWORK else scored[row],
                kind=_kind(scored[row]),
                score=pooled[row][0],
                low=pooled[row][1],
                high=pooled[row][2],
            )
            for row in sorted(range(len(parts)), key=lambda row: _place(scored[row]))
            if (parts[row], of[row], composition[row]) == (parts[chosen], ALL_ATOMS, told_by)
        ),
    )


def matched_pairs(folder: Path) -> tuple[Table, ...]:
    """Whether the group in which two molecules differ carries the change, where it was asked."""
    columns = Columns(folder / "pairs_summary.csv")
    if not columns:
        return ()
    texts = (columns.texts(name) for name in ("part", "change_of", "with", "transformation"))
    parts, change, against, transformation = texts
    names = ("correlation", "low", "high", "carried", "pairs", "correlation_all", "pairs_all")
    value = {name: columns.numbers(name).tolist() for name in names}
    kept = "test" if "test" in parts else "all"
    rows = tuple(
        (
            f"{_CHANGES[change[row]]} and {_CHANGES[against[row]]}",
            transformation[row],
            *_score(*(value[name][row] for name in names[:3])),
            number(value["carried"][row], 2),
            f"{value['pairs'][row]:,.0f}",
            number(value["correlation_all"][row], 2),
            f"{value['pairs_all'][row]:,.0f}",
        )
        for row, part in enumerate(parts)
        if part == kept and value["pairs_all"][row]
    )
    heading = ("changes of", "kind of change", "agreement", "95 % interval", "carried", "pairs",
               "of all pairs", "all pairs")  # fmt: skip
    note = _PAIRS_NOTE.format(part="of the test set" if kept == "test" else "of the data set")
    return (Table("Pairs that differ in one group", heading, rows, note),) if rows else ()


def _kind(scored: str) -> str:
    """What a line of the table is: the network's, or what its score is to be held against."""
    return "network" if scored == NETWORK else "ceiling" if scored in CEILINGS else "control"


def _place(scored: str) -> int:
    """The network's lines first, then the controls, then the ceilings."""
    return 0 if scored == NETWORK else 2 if scored in CEILINGS else 1


def _differences(folder: Path, part: str) -> dict[tuple[str, str, str], str]:
    """By how much the network's score by rank is above that of a line, where that is known."""
    columns = Columns(folder / "reasons_differences.csv")
    if not columns:
        return {}
    names = ("part", "of", "composition", "less")
    parts, *lines = (columns.texts(name) for name in names)
    numbers = (columns.numbers(name).tolist() for name in ("rank_difference", "p_holm"))
    return {
        line: f"{number(difference, 2)} (p {number(p, 3)})"
        for found, line, difference, p in zip(
            parts, zip(*lines, strict=True), *numbers, strict=True
        )
        if found == part and math.isfinite(p)
    }


def _score(value: float, low: float, high: float) -> tuple[str, str]:
    """A score and its interval in words."""
    if math.isnan(low):
        return number(value, 2), "" if math.isnan(value) else "too few molecules"
    return number(value, 2), f"{number(low, 2)} to {number(high, 2)}"


def conservation(folder: Path, unit: str) -> tuple[Table, ...]:
    """Where the predictions went, over all molecules, where conservation.csv is."""
    columns = Columns(folder / "conservation.csv")
    if not columns:
        return ()
    names = ("mean", "median", "mean_absolute", "largest_absolute")
    values = [columns.numbers(name) for name in names]
    rows = tuple(
        (LEDGER_WORDS.get(term, (term,))[0], *(number(column[row]) for column in values))
        for row, term in enumerate(columns.texts("term"))
    )
    heading = ("term", f"mean / {unit}", "median", "mean absolute", "largest absolute")
    note = _CONSERVATION_NOTE
    medians = dict(zip(columns.texts("term"), values[1].tolist(), strict=True))
    if medians.get(CANCELLATION, 0.0) >= MOSTLY_CANCELLATION:
        note += _MOSTLY_CANCELLATION_NOTE.format(limit=MOSTLY_CANCELLATION)
    terms = columns.texts("term")
    bars = tuple(
        (LEDGER_WORDS.get(term, (term,))[0], float(values[0][row]))
        for row, term in enumerate(terms)
        if term in ("prediction", "atoms", *LEDGER) and values[2][row] > 0
    )
    return (Table(CONSERVATION, heading, rows, note, bars),)
