"""Linear probes: what can be read off vectors by one affine map, beside shuffled controls.

A ridge regression on standardized vectors, cross-validated by folds of whole molecules, since
atoms of one molecule are no independent draws.  A label of kinds is scored by the area under the
ROC curve, each kind against the others, the mean over kinds (chance 0.5); a number by R^2 (chance
0 or less).  The controls are the same probe, asked for labels that were shuffled among all, and
among those of one stratum (an element; a number of heavy atoms): what a probe of this size can
learn by heart, and what the stratum alone tells (J. Hewitt, P. Liang, EMNLP 2019).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hpcml.analysis.chemical_labels import Label, Labelled

Floats = NDArray[np.float64]
FOLDS = 5
_LEAST_OF_A_KIND = 10
_PENALTY = 1.0


def probes(
    vectors: Floats, places: NDArray[np.int64], labelled: Labelled, seed: int = 0
) -> list[dict[str, object]]:
    """A line for each label that can be probed: its score, and that of the controls.

    Left out are labels of which there are fewer than ten of a second kind, numbers that do not
    vary, and what fewer than five molecules have.

    Parameters
    ----------
    vectors : (k, F) array
    places : (k,) integer array
        Which atoms or molecules they are of.
    labelled
    seed
        Of the shuffling.
    """
    random = np.random.default_rng(seed)
    molecule, stratum = labelled.molecule[places], labelled.stratum[places]
    spread = vectors.std(axis=0)
    standard = (vectors - vectors.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    by_rows: dict[bytes, list[Label]] = {}
    for label in labelled.labels:
        one = label.at(places)
        if _can_be_probed(one, molecule):
            by_rows.setdefault(one.known.tobytes(), []).append(one)
    lines: list[dict[str, object]] = []
    for labels in by_rows.values():  # those of the same atoms share their regressions
        rows = np.flatnonzero(labels[0].known)
        asked = [_targets(label, rows) for label in labels]
        scrambled = [_shuffles(stratum[rows], random) for _ in labels]
        tasks = [t[order] for t, orders in zip(asked, scrambled, strict=True) for order in orders]
        scores = _cross_validated(standard[rows], tasks, molecule[rows])
        for label, (true, shuffled, within) in zip(
            labels, scores.reshape(len(labels), 3, FOLDS), strict=True
        ):
            lines.append(
                {
                    "label": label.name,
                    "measure": "ROC AUC" if label.kinds else "R2",
                    "rows": len(rows),
                    "molecules": len(np.unique(molecule[rows])),
                    "score": float(np.nanmean(true)),
                    "std_over_folds": float(np.nanstd(true)),
                    "shuffled": float(np.nanmean(shuffled)),
                    "shuffled_within": float(np.nanmean(within)),
                    "within": labelled.within,
                }
            )
    order = {label.name: place for place, label in enumerate(labelled.labels)}
    return sorted(lines, key=lambda line: order[str(line["label"])])


def _can_be_probed(label: Label, molecule: NDArray[np.int64]) -> bool:
    known = label.known
    if len(np.unique(molecule[known])) < FOLDS:
        return False
    if not label.kinds:
        return bool(np.ptp(label.values[known]) > 0)
    counts = np.bincount(label.values[known].astype(np.int64))
    return int((counts >= _LEAST_OF_A_KIND).sum()) > 1


def _targets(label: Label, rows: NDArray[np.int64]) -> Floats:
    """(k, K): an indicator of each kind of which there are enough; or (k, 1) a standard number."""
    values = label.values[rows]
    if label.kinds:
        counts = np.bincount(values.astype(np.int64))
        kinds = np.flatnonzero(counts >= _LEAST_OF_A_KIND)
        kinds = kinds[1:] if len(label.kinds) == 2 else kinds
        return np.asarray(values[:, None] == kinds, dtype=np.float64)
    number: Floats = ((values - values.mean()) / values.std())[:, None]
    return number


def _shuffles(
    stratum: NDArray[np.int64], random: np.random.Generator
) -> tuple[NDArray[np.int64], ...]:
    """Orders of the labels: as they are, shuffled among all, and shuffled within strata."""
    rows = np.arange(len(stratum))
    within = np.empty_like(rows)
    within[np.argsort(stratum, kind="stable")] = np.lexsort((random.random(len(rows)), stratum))
    return rows, random.permutation(rows), within


def _cross_validated(
    vectors: Floats, tasks: Sequence[Floats], molecule: NDArray[np.int64]
) -> Floats:
    """The score of each task in each fold, (tasks, FOLDS); NaN where a fold has one kind alone."""
    from sklearn.linear_model import Ridge
    from sklearn.model_selection import GroupKFold

    wanted = np.concatenate(tasks, axis=1)
    cuts = np.cumsum([task.shape[1] for task in tasks])[:-1]
    scores = np.full((len(tasks), FOLDS), np.nan)
    folds = GroupKFold(FOLDS, shuffle=True, random_state=0)
    for fold, (fit, held) in enumerate(folds.split(vectors, groups=molecule)):
        probe = Ridge(alpha=_PENALTY, solver="cholesky").fit(vectors[fit], wanted[fit])
        told = probe.predict(vectors[held]).reshape(len(held), -1)
        pairs = zip(np.split(told, cuts, axis=1), np.split(wanted[held], cuts, axis=1), strict=True)
        scores[:, fold] = [_score(guess, truth) for guess, truth in pairs]
    return scores


def _score(guess: Floats, truth: Floats) -> float:
    from sklearn.metrics import r2_score, roc_auc_score

    if not np.isin(truth, (0.0, 1.0)).all():
        return float(r2_score(truth, guess))
    varied = np.ptp(truth, axis=0) > 0
    if not varied.any():
        return float("nan")
    return float(
        np.mean(
            [roc_auc_score(t, g) for t, g in zip(truth.T[varied], guess.T[varied], strict=True)]
        )
    )
