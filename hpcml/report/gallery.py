"""Which molecules the page draws, and what it knows of each of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hpcml.errors import InputError
from hpcml.molecules import Molecule, perceive, symbol
from hpcml.molecules.groups import GROUPS, occurrences
from hpcml.relevance.ledger import LEDGER
from hpcml.relevance.relevance_rows import RelevanceRows
from hpcml.report.facts import Predictions, Residuals, Shown
from hpcml.report.words import LEDGER_WORDS
from hpcml.store import Dataset
from hpcml.training.model_folder import PARTS

MOST_SHOWN = 600  # molecules: each takes a few kilobytes of the page
NOT_SPLIT = "not in the split"
_MOST_BOXES = 24


def gallery(
    data: Dataset,
    predictions: Predictions | None,
    explained: RelevanceRows | None,
    always: Iterable[int] = (),
) -> tuple[Shown, ...]:
    """Molecules to draw, those of the test set first, in each part by error.

    always   rows that are drawn whatever their error
    """
    parts, reference, predicted = by_row(len(data), predictions)
    rows = choose(parts, np.abs(predicted - reference), MOST_SHOWN).tolist()
    rows += sorted(set(always) - set(rows))
    ledger = np.zeros((0, len(LEDGER))) if explained is None else explained.ledger
    used = np.flatnonzero(np.abs(np.nan_to_num(ledger)).max(axis=0, initial=0.0) > 0).tolist()
    return tuple(
        _shown(data, explained, used, Shown(
            molecule=data.molecules[row], row=row, part=str(parts[row]),
            reference=float(reference[row]), prediction=float(predicted[row]),
        ))
        for row in rows
    )  # fmt: skip


def by_row(
    rows: int, predictions: Predictions | None
) -> tuple[NDArray[np.str_], NDArray[np.float64], NDArray[np.float64]]:
    """Part, computed and predicted value of every row of a data set.

    Returns
    -------
    (N,) text array, (N,) array, (N,) array
        NaN where nothing is known.
    """
    parts = np.full(rows, NOT_SPLIT, dtype=object)
    reference, predicted = np.full(rows, np.nan), np.full(rows, np.nan)
    if predictions is not None and predictions.rows is not None:
        listed = predictions.rows >= 0
        at = predictions.rows[listed]
        parts[at] = predictions.parts[listed]
        reference[at] = predictions.reference[listed]
        predicted[at] = predictions.predicted[listed]
    return parts.astype(str), reference, predicted


def choose(parts: NDArray[np.str_], error: NDArray[np.float64], most: int) -> NDArray[np.int64]:
    """Rows to draw: test molecules first, then validation, then training, others last.

    Where there is no room for all, the test molecules take up to six tenths of it, validation and
    training up to as much of what is left, and what is left then goes around again.  Within a part
    they go from the smallest to the largest error, taken evenly, both ends included; molecules
    without an error come last.

    Parameters
    ----------
    parts : (N,) text array
        The part of the split of each row.
    error : (N,) array
    most : int

    Returns
    -------
    (n,) integer array
        Rows, n <= most.
    """
    order = (*reversed(PARTS), *sorted(set(parts.tolist()) - set(PARTS)))
    rows = {part: np.flatnonzero(parts == part) for part in order}
    rows = {part: of[np.argsort(error[of], kind="stable")] for part, of in rows.items()}
    room = dict.fromkeys(order, 0)
    left = most
    for share in (0.6, 1.0):
        for part in order:
            more = min(len(rows[part]) - room[part], int(np.ceil(share * left)))
            room[part] += more
            left -= more
    chosen = [
        of[np.linspace(0, len(of) - 1, room[part]).round().astype(int)] for part, of in rows.items()
    ]
    rows_chosen: NDArray[np.int64] = np.concatenate(chosen).astype(np.int64)
    return rows_chosen


def residuals(predictions: Predictions, data: Dataset) -> tuple[Residuals, ...]:
    """Errors of the test molecules (else of all) by the number of heavy atoms and by element."""
    known = predictions.known
    if known.rows is None:
        return ()
    part = next((p for p in reversed(PARTS) if (known.parts == p).any()), "")
    chosen = (known.parts == part) & (known.rows >= 0)
    rows, error = known.rows[chosen], (known.predicted - known.reference)[chosen]
    numbers, offsets = data.column("numbers"), data.atom_offsets
    heavy = np.add.reduceat((numbers > 1).astype(np.int64), offsets[:-1])[rows]
    by_size = {f"{n}": error[heavy == n] for n in np.unique(heavy).tolist()}
    by_element = {}
    molecule = np.repeat(np.arange(len(data)), np.diff(offsets))
    for number in np.unique(numbers).tolist():
        has = np.zeros(len(data), dtype=bool)
        has[molecule[numbers == number]] = True
        by_element[symbol(number)] = error[has[rows]]
    return tuple(
        Residuals(title, part, known.unit, _largest(kinds))
        for title, kinds in (
            ("number of heavy atoms", by_size),
            ("molecules with the element", by_element),
        )
    )


def _largest(kinds: dict[str, NDArray[np.float64]]) -> dict[str, NDArray[np.float64]]:
    kept = {name: of for name, of in kinds.items() if len(of)}
    return dict(list(kept.items())[-_MOST_BOXES:])


def _shown(data: Dataset, explained: RelevanceRows | None, used: list[int], bare: Shown) -> Shown:
    found: dict[str, object] = {"groups": _groups(bare.molecule)}
    for name, column in (("dipole", "dipole"), ("beta", "beta_vector")):
        if column in data.columns:
            value = np.asarray(data.value(column, bare.row), dtype=np.float64).reshape(-1, 3)[0]
            if np.isfinite(value).all():
                found[name] = value
    if explained is not None:
        one = explained[bare.row]
        if explained.target.is_static and explained.target.share_name in data.columns:
            share = data.value(explained.target.share_name, bare.row)
            if np.isfinite(share).all():
                found["share"] = share
        if np.isfinite(one.prediction):
            found |= {
                "prediction": one.prediction,
                "relevance": one.atoms,
                "own_terms": one.atom_ledger.sum(axis=1),
                "ledger": {LEDGER_WORDS[LEDGER[k]][0]: float(one.ledger[k]) for k in used},
                "cancellation": float(explained.cancellation[bare.row]),
            }
        if explained.target.yes_or_no:
            found["reference"] = float("nan")
    return replace(bare, **found)  # type: ignore[arg-type]


def _groups(molecule: Molecule) -> tuple[str, ...]:
    """Names of the groups that it has; none where its bonds cannot be perceived."""
    try:
        mol = perceive(molecule)
    except InputError:
        return ()
    return tuple(name for name, smarts in GROUPS.items() if occurrences(mol, smarts))
