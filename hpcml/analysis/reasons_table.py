"""reasons.csv: the reasons score by part of the split, element, ring and group, beside controls.

reasons_differences.csv: how much better by rank the network does than each of them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hpcml.analysis.analyze_settings import AnalyzeSettings
from hpcml.analysis.atom_traits import AtomTraits
from hpcml.analysis.controls import ADDITIVE, SECOND_PARTITION, additive_fit, controls
from hpcml.analysis.reasons import (
    Floats,
    Score,
    mean_with_interval,
    molecule_of,
    score_and_ranks,
    two_sided,
)
from hpcml.analysis.untrained import untrained_relevance
from hpcml.molecules import constitutions, symbol
from hpcml.molecules.groups import GROUPS
from hpcml.relevance.relevance_rows import RelevanceRows
from hpcml.store import Dataset
from hpcml.training.model_folder import PARTS, ModelFolder
from hpcml.training.splits import read_split

Table = list[dict[str, object]]

NETWORK = "network"
"""What is scored, where it is the relevances themselves and no control."""
UNTRAINED = "untrained network"
ALL_ATOMS = "all atoms"
MERGED = "heavy atoms with their hydrogens"
KEPT, REMOVED, ENVIRONMENTS_REMOVED = "kept", "removed", "environments removed"


def headline_composition(compositions: Collection[str]) -> str:
    """Which of the compositions in reasons.csv the score is told by: the hardest that is there."""
    return ENVIRONMENTS_REMOVED if ENVIRONMENTS_REMOVED in compositions else REMOVED


@dataclass(frozen=True)
class _Values:
    """What is scored: of each atom (A,), and of each molecule (M,) where it predicts as well."""

    atoms: Floats
    prediction: Floats | None = None


@dataclass(frozen=True)
class _Selection:
    """Atoms (A,) whose reasons are scored, and molecules (M,) whose error stands beside."""

    of: str
    atoms: NDArray[np.bool_]
    molecules: NDArray[np.bool_]
    composition: str
    with_controls: bool = False


def reasons_tables(
    dataset: Dataset,
    rows: RelevanceRows,
    share: Floats,
    traits: AtomTraits,
    *,
    model_folder: Path,
    settings: AnalyzeSettings,
) -> tuple[Table, Table]:
    """A score for each selection of atoms, on all rows and on each part of the split; differences.

    For all atoms, and for heavy atoms with their hydrogens, what the network must beat, and what
    it can be asked for at most, stand beside it: ``controls``, the same network with its first
    weights where it lies in the model folder, the additive fit to the training rows' values, and
    the shares by a second partition where the data set has them (``share_NAME_loewdin``).

    Parameters
    ----------
    dataset
        With M molecules and A atoms.
    rows
        Its relevances.
    share : (A,) array
        What the physics assigns to each atom, target's unit; NaN where it is not known.
    traits
        Of its atoms.
    model_folder
        Where the network's split lies.
    settings
        Which composition is taken off.
    """
    everything = np.ones(len(dataset), dtype=bool)
    parts = {"all": everything, **split_parts(dataset, model_folder)}
    learned_from = parts.get("train", everything)
    scored = _scored(
        dataset, rows, share, traits, model_folder=model_folder, learned_from=learned_from
    )
    values = rows.target.values(dataset)
    table: Table = []
    differences: Table = []
    for part, in_part in parts.items():
        lines: list[tuple[dict[str, object], Floats]] = []
        for chosen in _selections(traits, in_part, settings):
            of = {"part": part, "of": chosen.of, "composition": chosen.composition}
            ranks = {}
            for what, one in scored.items():
                if what == NETWORK or chosen.with_controls:
                    score, ranks[what] = _score(one, share, traits, chosen, in_part)
                    error = _mean_error(rows, one, values, chosen.molecules & in_part)
                    line = {**of, "scored": what, **asdict(score), "mae": error}
                    lines.append((line, ranks[what]))
            differences += [{**of, **line} for line in _differences(ranks)]
        _widen(lines)
        table += [line for line, _ in lines]
    return table, differences


def _scored(
    dataset: Dataset,
    rows: RelevanceRows,
    share: Floats,
    traits: AtomTraits,
    *,
    model_folder: Path,
    learned_from: NDArray[np.bool_],
) -> dict[str, _Values]:
    """The network's relevances, the controls, and the ceilings that there are."""
    states = np.stack([dataset.column("charge"), dataset.column("multiplicity")], axis=1)
    constitution = constitutions(
        traits.numbers, dataset.column("positions"), traits.offsets, states
    )
    found = {NETWORK: _Values(rows.atoms, rows.prediction)}
    found |= {name: _Values(v) for name, v in controls(traits, share, constitution).items()}
    untrained = untrained_relevance(dataset, rows, model_folder)
    if untrained is not None:
        found[UNTRAINED] = _Values(untrained)
    fit = additive_fit(traits, rows.target.values(dataset), learned_from)
    if fit is not None and not rows.target.yes_or_no:
        found[ADDITIVE] = _Values(fit.atoms, fit.prediction)
    second = f"{rows.target.share_name}_loewdin"
    if second in dataset.columns:
        found[SECOND_PARTITION] = _Values(dataset.column(second))
    return found


def _score(
    one: _Values,
    share: Floats,
    traits: AtomTraits,
    chosen: _Selection,
    in_part: NDArray[np.bool_],
) -> tuple[Score, Floats]:
    """The score on the atoms of a selection, and (M,) the rank correlation of each molecule."""
    kinds = {KEPT: None, REMOVED: traits.numbers, ENVIRONMENTS_REMOVED: traits.environments}
    atoms, shares = one.atoms, share
    if chosen.of == MERGED:
        atoms, shares = traits.merged(one.atoms), traits.merged(share)
    return score_and_ranks(
        atoms,
        shares,
        traits.offsets,
        kinds=kinds[chosen.composition],
        counts=chosen.atoms & in_part[molecule_of(traits.offsets)],
    )


def _mean_error(
    rows: RelevanceRows, one: _Values, values: Floats, molecules: NDArray[np.bool_]
) -> float:
    """Mean absolute error of what predicts; NaN for what does not."""
    if one.prediction is None:
        return np.nan
    error = np.abs(rows.target.told(one.prediction) - values)[molecules]
    error = error[np.isfinite(error)]
    return float(error.mean()) if len(error) else np.nan


# --------------------------------------------------------------------- many comparisons


def _widen(lines: Sequence[tuple[dict[str, object], Floats]]) -> None:
    """Give the network's lines of one part intervals by rank that hold for all of them together.

    With k lines each is told at the level 1 - 0.05 / k (Bonferroni), in columns of its own.
    """
    mine = sum(line["scored"] == NETWORK for line, _ in lines)
    for line, ranks in lines:
        line |= {"comparisons": np.nan, "rank_low_all": np.nan, "rank_high_all": np.nan}
        if line["scored"] == NETWORK:
            _, low, high, _ = mean_with_interval(ranks, 1.0 - 0.05 / mine)
            low, high = np.clip([low, high], -1.0, 1.0).tolist()
            line |= {"comparisons": mine, "rank_low_all": low, "rank_high_all": high}


def _differences(ranks: dict[str, Floats]) -> Table:
    """The network's rank correlation less that of each other line, molecule by molecule.

    With probabilities under Student's t that there is no difference, as they are and corrected
    for the number of comparisons (S. Holm, Scand. J. Statist. 6, 65 (1979)).
    """
    lines: Table = []
    raw = []
    for what, others in ranks.items():
        if what == NETWORK:
            continue
        less = ranks[NETWORK] - others
        count = int(np.isfinite(less).sum())
        mean, low, high, error = mean_with_interval(less)
        raw.append(two_sided(mean, error, count))
        lines.append(
            {
                **{"less": what, "rank_difference": mean, "low": low, "high": high},
                **{"molecules": count, "p": raw[-1]},
            }
        )
    for line, p in zip(lines, holm(np.array(raw)).tolist(), strict=True):
        line["p_holm"] = p
    return lines


def holm(p: Floats) -> Floats:
    """Probabilities corrected for their number, so that none is below 0.05 by luck in 95 of 100.

    Parameters
    ----------
    p : (k,) array
        NaN where nothing was compared; these are not counted.

    Returns
    -------
    (k,) array
    """
    corrected = np.full(len(p), np.nan)
    order = np.argsort(p)[: int(np.isfinite(p).sum())]
    steps = p[order] * np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(steps))
    return corrected


# ------------------------------------------------------------------------- what is scored


def _selections(
    traits: AtomTraits, in_part: NDArray[np.bool_], settings: AnalyzeSettings
) -> Iterator[_Selection]:
    """All atoms, hydrogens merged, each element, ring and chain, molecules that hold a group."""
    numbers, molecule = traits.numbers, molecule_of(traits.offsets)
    anywhere, all_atoms = np.ones(len(in_part), dtype=bool), np.ones(len(numbers), dtype=bool)
    harder = [ENVIRONMENTS_REMOVED] if settings.composition == "environments" else []
    removed = harder[0] if harder else REMOVED
    for composition in (*harder, REMOVED, KEPT):
        yield _Selection(ALL_ATOMS, all_atoms, anywhere, composition, with_controls=True)
    for composition in (removed, KEPT):
        own = traits.owner == np.arange(len(numbers))
        yield _Selection(MERGED, own & traits.known, anywhere, composition, with_controls=True)
    for z in np.unique(numbers[in_part[molecule]]).tolist():
        yield _Selection(f"element {symbol(z)}", numbers == z, anywhere, removed)
    ring = traits.perceived.in_ring
    yield _Selection("ring atoms", ring, anywhere, removed)
    yield _Selection("chain atoms", ~ring, anywhere, removed)
    for name in GROUPS:
        holds = traits.perceived.holds(name)
        if (holds & in_part).any():
            yield _Selection(f"molecules with {name}", holds[molecule], holds, removed)


def split_parts(dataset: Dataset, model_folder: Path) -> dict[str, NDArray[np.bool_]]:
    """Which rows each part of the network's split has.

    Returns
    -------
    part -> (M,) boolean array
        Parts with rows; nothing where the network has no split.
    """
    path = ModelFolder(model_folder).split
    if not path.exists():
        return {}
    split, keys = read_split(path), dataset.keys
    chosen = {part: np.isin(keys, np.array(split.part(part), "U32")) for part in PARTS}
    return {part: rows for part, rows in chosen.items() if rows.any()}
