"""The page's answer to whether its explanations can be trusted: what ``--faithfulness`` wrote."""

from __future__ import annotations

import math
from pathlib import Path

from hpcml.analysis.trust import CURVES, TABLE, checksum
from hpcml.analysis.verdicts import FAILS, PASSES
from hpcml.report.facts import Removal, Table, Trust
from hpcml.report.run_files import Columns
from hpcml.report.words import number

_NOTE = (
    "Each check is a number that must lie on one side of a limit: it passes where its whole 95 % "
    "interval does, fails where none of it does, and is open in between. The first three are of "
    "all molecules, matched pairs of those that the analysis looked at, the others of {count} "
    "drawn at random. For the null test and the planted bias "
    "a network of the same type and size was trained for a minute on labels whose reasons are "
    "known."
)
_EARLIER = "These checks are of an earlier network or rule: run hpcml analyze --faithfulness again."


def trust(folder: Path, network: Path, rule: str, unit: str) -> Trust | None:
    """The checks of a run's explanations, where trust.csv is.

    Parameters
    ----------
    folder
        The run's analysis.
    network
        The run's model folder, by which checks of an earlier network are known.
    rule
        By which the page's explanations were made.
    unit
        Of the target.
    """
    columns = Columns(folder / TABLE)
    if not columns:
        return None
    values, lows, highs = (columns.numbers(name) for name in ("value", "low", "high"))
    verdicts = columns.texts("verdict")
    texts = zip(
        columns.texts("check"), columns.texts("number"), columns.texts("limit"),
        columns.texts("says"), strict=True,
    )  # fmt: skip
    rows = tuple(
        (
            check,
            verdicts[row],
            number(values[row]),
            "" if math.isnan(lows[row]) else f"{number(lows[row])} to {number(highs[row])}",
            limit,
            says,
            what,
        )
        for row, (check, what, limit, says) in enumerate(texts)
    )
    made_of = {*columns.texts("network")}, {*columns.texts("rule")}
    asked = dict(zip(columns.texts("check"), columns.numbers("count").tolist(), strict=True))
    passed, failed = verdicts.count(PASSES), verdicts.count(FAILS)
    heading = ("check", "verdict", "value", "95 % interval", "must be", "what it says", "number")
    return Trust(
        passed=passed,
        failed=failed,
        left_open=len(verdicts) - passed - failed,
        table=Table("Checks", heading, rows, _NOTE.format(count=f"{asked['removal']:,.0f}")),
        warning="" if made_of == ({checksum(network)}, {rule}) else _EARLIER,
        removal=_removal(folder / CURVES, unit),
    )


def _removal(path: Path, unit: str) -> Removal | None:
    columns = Columns(path)
    if not columns:
        return None
    return Removal(
        unit=unit,
        fraction=columns.numbers("fraction"),
        curves={
            name: tuple(columns.numbers(f"{column}{end}") for end in ("", "_low", "_high"))
            for name, column in (
                ("largest relevance first", "largest_first"),
                ("smallest first", "smallest_first"),
                ("random order", "random"),
            )
        },
    )
