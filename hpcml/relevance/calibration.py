"""What each rule is worth for a network: the measurements behind ``rule = "auto"``.

``rule_choice`` says what is asked of a rule, and chooses.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from hpcml.errors import InputError, SettingsError
from hpcml.models import Batch, Network, collate, fit_references, fit_scaling
from hpcml.models.batch import Example
from hpcml.relevance.brief_training import (
    STEPS,
    Taken,
    molecules_taken,
    of_molecules,
    r_squared,
    train_briefly,
)
from hpcml.relevance.comparators import explain_by
from hpcml.relevance.explain_settings import ExplainSettings, target_index
from hpcml.relevance.known_truth import KnownTruth, agreement, known_truths
from hpcml.relevance.measures import flipping
from hpcml.relevance.rule_choice import (
    LEARNED,
    UNCALIBRATED,
    Calibration,
    Line,
    candidates,
    choose,
    read_calibration,
    write_calibration,
)
from hpcml.store import Dataset
from hpcml.training.model_file import ModelInfo, load_model
from hpcml.training.model_folder import ModelFolder

_MOLECULES = 240
FEWEST = 24
_HELD_OUT = 4  # every fourth molecule is not learned from
_FLIPPED = 60  # molecules


def calibrate(
    dataset: Dataset,
    model_folder: Path,
    settings: ExplainSettings,
    *,
    molecules: int = _MOLECULES,
    steps: int = STEPS,
    seed: int = 0,
    tell: Callable[[str], None] = lambda line: None,
) -> Calibration:
    """Measure every rule, choose one, and keep both in the model's folder.

    Parameters
    ----------
    dataset
        Whose molecules are taken: at most ``molecules``, at random.
    model_folder
        Of the trained network.
    settings
        Epsilon, gamma, and the like of the rules.
    steps
        Of the training on made-up properties.
    tell
        Called with a word before each part of the work.

    Raises InputError where no rule is better than chance, or no molecule can be taken.
    """
    model, info = load_model(model_folder)
    target = target_index(info.targets, settings.target)
    sample = _sample(dataset, model, molecules, seed)
    tell("a network learns properties whose atoms' shares are known")
    trial = _Trial.of(sample, info, settings.threads, steps=steps, seed=seed)
    dtype = next(model.parameters()).dtype
    own = collate([one for _, one, _ in sample[:_FLIPPED]], dtype)
    lines = []
    for rule in candidates(settings):
        tell(rule)
        by_rule = msgspec.structs.replace(settings, rule=rule)
        try:
            lines.append(_line(by_rule, trial, model, own, target))
        except (InputError, SettingsError):
            continue  # a rule that this network cannot be explained by
    rule, reason = choose(lines)
    calibration = Calibration(
        rule=rule,
        reason=reason,
        learned=trial.learned,
        molecules=trial.batch.size,
        identity=identity(model_folder, settings),
        lines=tuple(lines),
    )
    write_calibration(ModelFolder(model_folder), calibration)
    return calibration


def calibrated(
    dataset: Dataset,
    model_folder: Path,
    settings: ExplainSettings,
    tell: Callable[[str], None] = lambda line: None,
) -> Calibration:
    """The calibration in the model's folder if it is of this network, else a new one.

    Of fewer molecules than can be asked nothing is known: ``UNCALIBRATED`` is taken.
    """
    kept, asked = read_calibration(ModelFolder(model_folder)), identity(model_folder, settings)
    if kept is not None and kept.identity == asked:
        return kept
    if len(dataset) < FEWEST:
        return Calibration(
            rule=UNCALIBRATED,
            reason=f"not measured, as {len(dataset)} molecules are too few to choose by",
            learned={},
            molecules=0,
            identity=asked,
        )
    return calibrate(dataset, model_folder, settings, tell=tell)


def identity(model_folder: Path, settings: ExplainSettings) -> str:
    """What a calibration depends on: the network, and the settings of the rules."""
    checksum = hashlib.sha256(ModelFolder(model_folder).network.read_bytes()).hexdigest()
    free = ("rule", "batch_size", "ranks", "threads")
    said = {key: v for key, v in msgspec.to_builtins(settings).items() if key not in free}
    return json.dumps({"model": checksum, **said}, sort_keys=True)


# --------------------------------------------------------------------------- measurements

Sample = list[Taken]


def _sample(dataset: Dataset, model: Network, most: int, seed: int) -> Sample:
    """Molecules at random; InputError where there are too few."""
    found = molecules_taken(dataset, model, most, seed)
    if len(found) < FEWEST:
        raise InputError(
            f"{dataset.folder}: only {len(found)} molecules that the network takes and whose bonds "
            f"are perceived; to choose a rule needs {FEWEST}: set explain.rule"
        )
    return found


@dataclass(frozen=True)
class _Trial:
    """A network that has learned made-up properties, and molecules it has not learned from.

    truths     of those molecules
    learned    property -> R2 on them
    """

    model: Network
    batch: Batch
    truths: list[KnownTruth]
    learned: dict[str, float]

    @classmethod
    def of(cls, sample: Sample, info: ModelInfo, threads: int, *, steps: int, seed: int) -> _Trial:
        """Train a network of the same type and size on three quarters of the sample."""
        torch.set_num_threads(threads)
        held_out = np.arange(len(sample)) % _HELD_OUT == 0
        examples = [one for _, one, _ in sample]
        truths = known_truths([mol for _, _, mol in sample], seed)
        offsets = np.cumsum([0, *(len(one.numbers) for one in examples)])
        values = np.stack(
            [of_molecules(t.atoms, offsets, info.scaling.extensive) for t in truths], axis=1
        )
        train = [row for row in range(len(sample)) if not held_out[row]]
        kept = np.array([truth.composition == "kept" for truth in truths])
        learning = [examples[row] for row in train]
        model = _learned(info, learning, values[train], kept, steps=steps, seed=seed)
        rows = np.flatnonzero(held_out)
        batch = collate([examples[row] for row in rows])
        with torch.no_grad():
            scores = r_squared(model(batch).double().numpy(), values[rows])
        atoms = np.repeat(held_out, np.diff(offsets))
        mine = [KnownTruth(t.name, t.atoms[atoms], t.composition) for t in truths]
        names = [truth.name for truth in truths]
        return cls(model, batch, mine, dict(zip(names, scores.tolist(), strict=True)))


def _learned(
    info: ModelInfo,
    examples: list[Example],
    values: NDArray[np.float64],
    kept: NDArray[np.bool_],
    *,
    steps: int,
    seed: int,
) -> Network:
    """A network of the type and size of ``info`` that has learned the values.

    kept    (T,) properties of which the network learns what atoms are worth by element too
    """
    numbers = [one.numbers for one in examples]
    references = None
    if info.scaling.extensive:
        fitted = fit_references(numbers, np.where(kept, 0.0, values))
        references = {z: tuple(row) for z, row in fitted.items()}
    scaling = fit_scaling(numbers, values, extensive=info.scaling.extensive, references=references)
    targets = torch.from_numpy(values)
    return train_briefly(
        info,
        scaling,
        examples,
        lambda rows: targets[rows],
        scaling.std,
        steps=steps,
        seed=seed,
    )


def _line(
    settings: ExplainSettings,
    trial: _Trial,
    model: Network,
    own: Batch,
    target: int,
) -> Line:
    """A rule's answers to both questions."""
    numbers, batch = trial.batch.numbers.numpy(), trial.batch
    offsets = np.concatenate([[0], np.cumsum(np.bincount(batch.molecule.numpy()))])
    scores = {}
    for number, truth in enumerate(trial.truths):
        atoms = explain_by(trial.model, batch, settings, target=number).atoms.numpy()
        scores[truth.name] = agreement(atoms, truth, offsets, numbers)
    asked = [scores[name] for name, r2 in trial.learned.items() if r2 >= LEARNED]
    # a molecule counts with its mean over the properties that have a truth for it
    whole = np.array(asked) if asked else np.full((1, batch.size), np.nan)
    known = np.isfinite(whole).any(axis=0)
    of_molecule = np.nanmean(whole[:, known], axis=0) if known.any() else np.empty(0)
    relevance = explain_by(model, own, settings, target=target).atoms
    area = flipping(model, own, relevance, target=target).area.numpy()
    truth_mean, truth_error = _mean_and_error(of_molecule)
    area_mean, area_error = _mean_and_error(area)
    means = {name: _mean_and_error(score[np.isfinite(score)])[0] for name, score in scores.items()}
    return Line(
        rule=settings.rule,
        truth=truth_mean,
        truth_error=truth_error,
        flipping=area_mean,
        flipping_error=area_error,
        **means,
    )


def _mean_and_error(values: NDArray[np.float64]) -> tuple[float, float]:
    """Mean and its standard error; NaN of none, an infinite error of one."""
    if not len(values):
        return float("nan"), float("nan")
    error = float(values.std(ddof=1) / len(values) ** 0.5) if len(values) > 1 else float("inf")
    return float(values.mean()), error
