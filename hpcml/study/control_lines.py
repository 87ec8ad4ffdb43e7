"""controls.csv: what a score has to be held against."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from hpcml.analysis import reasons_score
from hpcml.analysis.atom_traits import AtomTraits
from hpcml.analysis.controls import ADDITIVE, SECOND_PARTITION, additive_fit, controls
from hpcml.analysis.reasons import molecule_of
from hpcml.errors import InputError, SettingsError
from hpcml.molecules import constitutions
from hpcml.study.cells import NETWORK, Cell
from hpcml.study.material import EvaluationSet, Material
from hpcml.study.study_tables import SAME, Line, Lines, grouped, interval_of_mean, values_of


def controls_table(material: Material, cells: list[Cell], lines: Lines) -> Lines:
    """Of each target, split and set: what the values that know nothing, or something simple, of
    the molecules are worth (``hpcml.analysis.controls``), what can be known at all (an additive
    fit to the molecules' values, a second partition of the density), and the networks that have
    learned nothing, or shuffled values.

    lines    of grid.csv

    The intervals of the former are over molecules, of the latter over seeds.
    """
    return [*_of_values(material, cells), *_of_networks(lines)]


def _of_values(material: Material, cells: list[Cell]) -> Iterator[Line]:
    """Of values without a network; those of a set that cannot be had are left out, as its cells
    say themselves."""
    for (target, split), first in _first_of_each(cells).items():
        try:
            sets = material.sets(first)
            _, divided = material.data(first)
        except (InputError, SettingsError):
            continue
        for one in sets:
            share = one.shares
            if share is None:
                continue
            offsets = one.data.rows.atom_offsets
            judged = np.zeros(len(one.data.keys), dtype=bool)
            judged[one.rows[: one.explained]] = True
            learned = np.isin(one.data.keys, divided.train)
            for name, values in _values_of(one, share, learned).items():
                score = reasons_score(
                    values,
                    share,
                    offsets,
                    kinds=one.data.rows.column("numbers").astype(np.int64),
                    counts=judged[molecule_of(offsets)],
                )
                yield {
                    "control": name,
                    "target": target,
                    "split": split,
                    "set": one.name,
                    "network": "",
                    "attribution": "",
                    "seeds": 0,
                    "molecules": score.molecules,
                    "score": _known(score.correlation),
                    "low": _known(score.low),
                    "high": _known(score.high),
                    "rank": _known(score.rank),
                    "rank_low": _known(score.rank_low),
                    "rank_high": _known(score.rank_high),
                }


def _values_of(
    one: EvaluationSet, share: NDArray[np.float64], learned: NDArray[np.bool_]
) -> dict[str, NDArray[np.float64]]:
    """Controls, and the ceilings that there are, of all atoms of the set's data.

    learned    (M,) rows that networks of the largest training set have learned from
    """
    rows = one.data.rows
    traits = AtomTraits.of(rows)
    states = np.stack([rows.column("charge"), rows.column("multiplicity")], axis=1)
    copies = constitutions(traits.numbers, rows.column("positions"), rows.atom_offsets, states)
    found = controls(traits, share, copies)
    fit = additive_fit(traits, one.data.values[:, 0], learned)
    if fit is not None:
        found[ADDITIVE] = fit.atoms
    second = f"{one.data.targets[0].share_name}_loewdin"
    if second in rows.columns:
        found[SECOND_PARTITION] = rows.column(second)
    return found


def _first_of_each(cells: list[Cell]) -> dict[tuple[str, str], Cell]:
    first: dict[tuple[str, str], Cell] = {}
    for cell in cells:
        first.setdefault((cell.target, cell.split), cell)
    return first


def _of_networks(lines: Lines) -> Iterator[Line]:
    others = [one for one in lines if one["kind"] != NETWORK and one["attribution"]]
    for same in grouped(others, (*SAME, "set", "attribution")).values():
        line: Line = {
            "control": f"{same[0]['kind']} network"
            if same[0]["kind"] == "untrained"
            else "network of shuffled values",
            **{key: same[0][key] for key in ("target", "split", "set", "network", "attribution")},
            "seeds": len(same),
            "molecules": same[0]["explained"],
        }
        for column in ("score", "rank"):
            values = values_of(same, column)
            known = values[np.isfinite(values)]
            low, high = interval_of_mean(values)
            names = ("low", "high") if column == "score" else ("rank_low", "rank_high")
            line[column] = float(known.mean()) if len(known) else None
            line |= dict(zip(names, (low, high), strict=True))
        yield line


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
