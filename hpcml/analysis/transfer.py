"""Does a network hold, and for the same reasons, on molecules that are unlike those it learned?

Error, reasons score, slope and drift of the relevances, for each part of the run's own split and
for other data sets, all molecules together and by number of heavy atoms.  The reference of the
drift are the training molecules; the validation set, drawn like them, shows what no transfer
looks like.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from hpcml.analysis.analyze_stage import Table, write_table
from hpcml.analysis.drift import calibration_slope, drift
from hpcml.analysis.explained_sample import ExplainedSample, environment_name, explained_sample
from hpcml.analysis.reasons import LEAST_MOLECULES, reasons_score
from hpcml.analysis.reasons_table import split_parts
from hpcml.errors import InputError
from hpcml.files import make_folder
from hpcml.molecules import constitutions, symbol
from hpcml.relevance.relevance_rows import RelevanceRows
from hpcml.store import Dataset
from hpcml.training.levels import distinct_levels, joined
from hpcml.training.model_folder import ModelFolder
from hpcml.training.soundness import unsound_rows
from hpcml.training.train_settings import Bounds, LeaveOut

OWN = "own"
"""The name, in tables, of the data set that the network learned from."""
ALL_SIZES = "all"
RELEVANCE, WITH_OWN_TERMS = "relevance", "with own terms"
_HEADING = (
    *("data set", "heavy atoms", "molecules", "MAE", "pooled", "by rank", "slope"),
    *("drift", "chance"),
)
_ON_SCREEN = ("mae", "correlation", "rank", "slope", "drift_environment", "chance_environment")


@dataclass(frozen=True)
class Explained:
    """A data set with its relevances."""

    dataset: Dataset
    rows: RelevanceRows


@dataclass(frozen=True)
class Transfer:
    """What was found.

    table     lines of transfer.csv
    drifts    lines of drift.csv: one kind of atom each
    notes     what a reader must know: molecules that were left out, levels that differ
    """

    table: Table
    drifts: Table
    notes: list[str]

    def lines(self) -> list[str]:
        """The table in a few columns, for the screen: relevances alone, all that was judged."""
        cells: list[tuple[str, ...]] = [_HEADING]
        for line in self.table:
            if line["explained"] == RELEVANCE:
                numbers = [line[name] for name in _ON_SCREEN]
                where = " ".join(filter(None, (str(line["dataset"]), str(line["part"]))))
                shown = [f"{number:.3g}" for number in numbers if isinstance(number, float)]
                cells.append((where, str(line["heavy_atoms"]), str(line["molecules"]), *shown))
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in cells]

    def write(self, folder: Path) -> dict[str, Path]:
        """transfer.csv and drift.csv in the folder; name -> file."""
        make_folder(folder)
        files = {name: folder / f"{name}.csv" for name in ("transfer", "drift")}
        write_table(files["transfer"], self.table)
        write_table(files["drift"], self.drifts)
        return files


def transfer(
    own: Explained,
    model_folder: Path,
    others: Mapping[str, Explained],
    leave_out: LeaveOut = "unstable",
    within: Mapping[str, Bounds] | None = None,
) -> Transfer:
    """Judge a network on its own parts and on other data sets.

    own       what the network learned from, explained
    others    name -> another data set, explained by the same network and rule
    leave_out, within   which rows of the others are not judged on, as in ``TrainSettings``

    Of the others, copies of training and validation molecules (the same atoms and bonds) are left
    out.  Raises InputError where the network's split is missing, a name is "own", or relevances
    are of another target.

    Columns of transfer.csv: dataset, part ("" of others), heavy_atoms ("all" or a number),
    molecules; mae with its 95 % interval (Student's t over molecules), bias (mean of prediction
    less true value), spread (standard deviation of the true values), in the target's unit;
    explained ("relevance", or "with own terms": biases, steps and references at the atom), the
    reasons score pooled and by rank with intervals, composition removed; slope with interval
    (``drift.calibration_slope``); by element and by environment the drift, what chance stays
    below, and the part of atoms whose kind the training molecules do not have (``drift.drift``).
    """
    path = ModelFolder(model_folder).split
    if not path.exists():
        raise InputError(f"{path}: the network has no split, so nobody knows what it learned from")
    whole = explained_sample(own.dataset, own.rows)
    parts = split_parts(own.dataset, model_folder)
    samples = {(OWN, part): whole.of(rows) for part, rows in parts.items()}
    learned_from = np.any([rows for part, rows in parts.items() if part != "test"], axis=0)
    learned, notes = own.dataset.subset(learned_from), []
    for name, other in others.items():
        if name == OWN:
            raise InputError(f"a data set cannot be called {OWN!r}: give its folder another name")
        if other.rows.target != own.rows.target:
            label = own.rows.target.label
            raise InputError(f"{name}: explained is {other.rows.target.label}, not {label}")
        notes += _notes(name, own, other)
        fresh = ~_copies(learned, other.dataset)
        if not fresh.all():
            notes.append(
                f"{name}: {int((~fresh).sum())} of {len(fresh)} molecules are copies of molecules "
                "that were learned from: left out"
            )
        for reason, unsound in unsound_rows(other.dataset, leave_out, within or {}).items():
            notes.append(f"{name}: {int(unsound.sum())} molecules left out: {reason}")
            fresh &= ~unsound
        samples[name, ""] = explained_sample(other.dataset, other.rows).of(fresh)
    reference = samples[OWN, "train"]
    table: Table = []
    drifts: Table = []
    for (name, part), sample in samples.items():
        for size, chosen in _by_size(sample).items():
            place = {"dataset": name, "part": part, "heavy_atoms": size}
            same = (name, part) == (OWN, "train")
            _judge(table, drifts, place, chosen, None if same else reference)
    return Transfer(table, drifts, notes)


def _notes(name: str, own: Explained, other: Explained) -> list[str]:
    """Another level of theory, and no shares to hold the relevances against."""
    notes = []
    levels = [joined(distinct_levels(one.dataset)) for one in (own, other)]
    if levels[0] != levels[1]:
        notes.append(f"{name}: its values are {levels[1]}, the network has learned {levels[0]}")
    share = own.rows.target.share_name
    if share not in other.dataset.columns:
        notes.append(f"{name}: no {share}, so that its errors alone are judged")
    return notes


def _by_size(sample: ExplainedSample) -> dict[str, ExplainedSample]:
    sizes = np.unique(sample.heavy_atoms).tolist()
    return {ALL_SIZES: sample} | {str(n): sample.of(sample.heavy_atoms == n) for n in sizes}


def _judge(
    table: Table,
    drifts: Table,
    place: dict[str, str],
    sample: ExplainedSample,
    reference: ExplainedSample | None,
) -> None:
    """A line for the relevances alone, one with the atoms' own terms, and their drifts."""
    pairs = {RELEVANCE: (sample, reference)}
    pairs[WITH_OWN_TERMS] = (
        sample.with_own_terms(),
        None if reference is None else reference.with_own_terms(),
    )
    for explained, (chosen, learned) in pairs.items():
        score = asdict(
            reasons_score(chosen.relevance, chosen.share, chosen.offsets, kinds=chosen.numbers)
        )
        slope = calibration_slope(chosen)
        line: dict[str, object] = {
            **place,
            **_errors(chosen),
            "explained": explained,
            **{name: value for name, value in score.items() if name != "molecules"},
            "scored_molecules": score["molecules"],
            "slope": slope.slope,
            "slope_low": slope.low,
            "slope_high": slope.high,
        }
        for of, kinds in {"element": "numbers", "environment": "environment"}.items():
            line |= dict.fromkeys((f"drift_{of}", f"chance_{of}", f"new_{of}"), np.nan)
            if learned is None:
                continue
            found = drift(learned, chosen, getattr(learned, kinds), getattr(chosen, kinds))
            line |= {
                f"drift_{of}": found.drift,
                f"chance_{of}": found.chance,
                f"new_{of}": found.new,
            }
            name = symbol if of == "element" else environment_name
            drifts += [
                {**place, "explained": explained, "of": of, **asdict(one), "kind": name(one.kind)}
                for one in found.kinds
            ]
        table.append(line)


def _errors(sample: ExplainedSample) -> dict[str, object]:
    """Mean absolute error with its interval, mean error, and what there was to predict."""
    errors = sample.error[np.isfinite(sample.error)]
    size = np.abs(errors)
    mae = float(size.mean()) if len(size) else np.nan
    width = np.nan
    if len(size) >= LEAST_MOLECULES:
        width = float(stdtrit(len(size) - 1, 0.975) * size.std(ddof=1) / np.sqrt(len(size)))
    return {
        "molecules": len(errors),
        "mae": mae,
        "mae_low": max(0.0, mae - width),
        "mae_high": mae + width,
        "bias": float(errors.mean()) if len(errors) else np.nan,
        "spread": float(np.nanstd(sample.value)) if np.isfinite(sample.value).any() else np.nan,
    }


def _copies(learned: Dataset, other: Dataset) -> NDArray[np.bool_]:
    """Which molecules of the other data set have the constitution of one that was learned from."""
    both = (learned, other)

    def both_of(name: str) -> NDArray[Any]:
        return np.concatenate([one.column(name) for one in both])

    states = np.stack([both_of("charge"), both_of("multiplicity")], axis=1)
    offsets = np.concatenate(
        [learned.atom_offsets, learned.atom_offsets[-1] + other.atom_offsets[1:]]
    )
    found = constitutions(both_of("numbers"), both_of("positions"), offsets, states)
    return np.isin(found[len(learned) :], found[: len(learned)])
