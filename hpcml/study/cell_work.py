"""One cell: its network trained, or left as it began, then judged, explained and scored."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hpcml.analysis import reasons_score
from hpcml.analysis.reasons import molecule_of
from hpcml.errors import InputError, SettingsError
from hpcml.files import make_folder, write_whole
from hpcml.models import Batch, Network, build
from hpcml.relevance import ExplainSettings, cancellation, explain_by
from hpcml.relevance.explain_settings import AUTO
from hpcml.study.cells import SHUFFLED, UNTRAINED, Cell, explained_by, settings_of, trained_by
from hpcml.study.chosen_rule import chosen_rule
from hpcml.study.material import EvaluationSet, Material
from hpcml.study.results import Number, Result, SetError, SetScore
from hpcml.training import TrainSettings, check, load_model
from hpcml.training.data import TrainingData, share_of_rank
from hpcml.training.metrics import errors_of, read_metrics
from hpcml.training.model_folder import ModelFolder
from hpcml.training.run import Run, from_rank_0
from hpcml.training.splits import Split, rows_of, write_split
from hpcml.training.targets import all_told
from hpcml.training.world import World

_AT_ONCE = 64
"""Molecules of a batch that is predicted or explained."""


@dataclass(frozen=True)
class _Trained:
    """A cell's network, and what is known of how it came about."""

    model: Network
    unit: str
    rows: NDArray[np.int64]
    epochs: int
    seconds: float


def do_cell(material: Material, cell: Cell, stop: Callable[[], bool] = lambda: False) -> None:
    """Train the cell's network where it is not trained, explain it, and write its result.

    All ranks call it.  Raises InputError or SettingsError, on all ranks alike, for a cell that
    cannot be had; Stopped where ``stop`` said so in the midst of training.
    """
    settings = settings_of(material.study, cell)
    target = material.study.target(cell.target)
    dataset = material.dataset(material.study.dataset_of(target))
    check(settings, dataset.schema)
    identity = trained_by(material.study, cell, dataset.fingerprint)
    told_by = explained_by(material.study, cell, lambda path: material.dataset(path).fingerprint)
    began = time.monotonic()
    sets = material.sets(cell)
    trained = _network(material, cell, settings, identity, stop)
    middle = time.monotonic()
    refused: dict[str, None] = {}
    errors = [line for one in sets for line in _errors(material.world, trained.model, one)]
    scores = list(_scores(material, cell, trained, sets, refused))
    result = Result(
        cell=cell,
        unit=trained.unit,
        train_rows=len(trained.rows),
        parameters=sum(parameter.numel() for parameter in trained.model.parameters()),
        epochs=trained.epochs,
        train_seconds=round(max(trained.seconds, middle - began), 3),
        explain_seconds=round(time.monotonic() - middle, 3),
        errors=tuple(errors),
        scores=tuple(scores),
        refused=tuple(refused),
        trained_by=identity,
        explained_by=told_by,
    )
    if material.world.rank == 0:
        material.folder.write_result(result)
        ModelFolder(material.folder.model(cell)).checkpoint.unlink(missing_ok=True)


# ------------------------------------------------------------------------------- training


def _network(
    material: Material,
    cell: Cell,
    settings: TrainSettings,
    identity: dict[str, str],
    stop: Callable[[], bool],
) -> _Trained:
    """The cell's network: from its folder, trained, or with its first weights."""
    data, whole = material.data(cell)
    split = msgspec.structs.replace(whole, train=material.training_keys(cell, whole))
    passes = settings.passes * max(1, round(len(whole.train) / len(split.train)))
    settings = msgspec.structs.replace(settings, passes=passes)
    row_of_key = {key: row for row, key in enumerate(data.keys)}
    rows = rows_of(split, "train", row_of_key)
    if cell.kind == SHUFFLED:
        data = _shuffled(data, split, row_of_key, cell.seed)
    folder = ModelFolder(material.folder.model(cell))
    levels = material.levels(str(material.study.dataset_of(material.study.target(cell.target))))
    run = Run(settings, material.world, folder, identity, data, split, levels)
    if cell.kind == UNTRAINED:
        torch.manual_seed(cell.seed)
        model = build(settings.model, settings.hyperparameters, scaling=run.scaling).eval()
        return _Trained(model, data.units[0], rows, 0, 0.0)
    metrics = _finished(material.world, folder, run, split, stop)
    model, _ = load_model(folder.path)
    return _Trained(model, data.units[0], rows, int(metrics["epochs"]), float(metrics["seconds"]))


def _finished(
    world: World, folder: ModelFolder, run: Run, split: Split, stop: Callable[[], bool]
) -> dict[str, Any]:
    """The final numbers of the run, which is begun, or gone on with, where it is not finished."""
    torch.set_num_threads(run.settings.threads)
    before = msgspec.json.decode(
        from_rank_0(world, lambda: msgspec.json.encode(read_metrics(folder)))
    )
    if before is not None and before.get("identity") == run.identity:
        finished: dict[str, Any] = before
        return finished
    if world.rank == 0:
        make_folder(folder.path)
        text = msgspec.json.format(msgspec.json.encode(run.settings))
        write_whole(folder.settings, text)
        write_split(folder.split, split)
    fit = run.begin()
    run.go(fit, stop)
    metrics = run.finish(fit)
    from_rank_0(world, lambda: b"written")  # the others read what rank 0 has written
    return metrics


def _shuffled(
    data: TrainingData, split: Split, row_of_key: dict[str, int], seed: int
) -> TrainingData:
    """The data with the values of the training rows, and those of the validation's, dealt anew."""
    values = data.values.copy()
    random = np.random.default_rng([seed, 0x5AFF])
    for part in ("train", "validation"):
        rows = rows_of(split, part, row_of_key)
        values[rows] = values[random.permutation(rows)]
    return replace(data, values=values)


# ------------------------------------------------------------------- predictions, relevances


def _batches(
    world: World, one: EvaluationSet, rows: NDArray[np.int64], dtype: torch.dtype
) -> Iterator[tuple[NDArray[np.int64], Batch]]:
    """This rank's part of the rows: their places among them, and their batch."""
    mine = share_of_rank(np.arange(len(rows)), one.data.atoms[rows], world.rank, world.size)
    for start in range(0, len(mine), _AT_ONCE):
        places = mine[start : start + _AT_ONCE]
        yield places, one.data.examples.batch(rows[places], dtype)


def _each(
    places: NDArray[np.int64],
    batch: Batch,
    one: EvaluationSet,
    rows: NDArray[np.int64],
    take: Callable[[NDArray[np.int64], Batch], None],
) -> None:
    """Take a batch, or, where the network refuses a molecule of it, those that it does not."""
    try:
        take(places, batch)
    except InputError:
        if len(places) == 1:
            return
        for place in places.reshape(-1, 1):
            alone = one.data.examples.batch(rows[place], batch.positions.dtype)
            _each(place, alone, one, rows, take)


def _errors(world: World, model: Network, one: EvaluationSet) -> list[SetError]:
    """On the set, and on its parts."""
    dtype = next(model.parameters()).dtype
    found, known = np.zeros(len(one.rows)), np.zeros(len(one.rows))

    def take(places: NDArray[np.int64], batch: Batch) -> None:
        with torch.no_grad():
            found[places] = model(batch)[:, 0].double().numpy()
        known[places] = 1.0

    for places, batch in _batches(world, one, one.rows, dtype):
        _each(places, batch, one, one.rows, take)
    total = world.sum(torch.from_numpy(np.stack([found, known]))).numpy()
    predicted = np.where(total[1] > 0, total[0], np.nan)
    predicted = all_told(one.data.targets, predicted[:, None])[:, 0]
    truth = one.data.values[one.rows, 0]
    lines = []
    for name, chosen in {one.name: np.ones(len(one.rows), bool), **one.parts}.items():
        judged = chosen & np.isfinite(predicted) & np.isfinite(truth)
        told = errors_of(truth[judged], predicted[judged])
        lines.append(
            SetError(
                set=name,
                role=one.role,
                molecules=int(judged.sum()),
                mae=told["mae"],
                r2=told["r2"],
            )
        )
    return lines


def _scores(
    material: Material,
    cell: Cell,
    trained: _Trained,
    sets: list[EvaluationSet],
    refused: dict[str, None],
) -> Iterator[SetScore]:
    """Of each attribution on each set; what cannot be had goes into ``refused``, in words."""
    for one in sets:
        if one.shares is None:
            name = material.study.target(cell.target).target.share_name
            refused[f"no {name} of atoms in {one.source}: errors alone are told of it"] = None
    scored = [one for one in sets if one.shares is not None]
    if any((one.name, one.role) == ("test", "in") for one in scored):  # validation says the same
        scored = [one for one in scored if one.name != "validation"]
    found: dict[str, list[SetScore]] = {}  # by rule: the one that is chosen is asked for once
    for attribution in material.study.attributions if scored else ():
        try:
            rule = chosen_rule(material, cell) if attribution == AUTO else attribution
            if rule not in found:
                settings = ExplainSettings(rule=rule)
                _probe(trained.model, scored[0], settings)
                scores = [
                    _scores_of(material.world, trained.model, one, settings) for one in scored
                ]
                found[rule] = list(chain.from_iterable(scores))
            for score in found[rule]:
                yield msgspec.structs.replace(score, attribution=attribution)
        except (InputError, SettingsError) as error:
            refused[f"{cell.network} on {cell.target}, {attribution}: {error}"] = None


def _probe(model: Network, one: EvaluationSet, settings: ExplainSettings) -> None:
    """Explain a molecule on every rank, so that a rule that is no rule fails on all alike."""
    dtype = next(model.parameters()).dtype
    explain_by(model, one.data.examples.batch(one.rows[:1], dtype), settings)


def _scores_of(
    world: World, model: Network, one: EvaluationSet, settings: ExplainSettings
) -> Iterator[SetScore]:
    atoms, ledger = relevances(world, model, one, one.rows[: one.explained], settings)
    traits, offsets = one.traits, one.sample.atom_offsets
    share = one.sample.column(one.data.targets[0].share_name)
    heavy, heavy_share = traits.merged(atoms), traits.merged(share)
    cancels = cancellation(atoms, ledger, offsets)
    molecule, kinds = molecule_of(offsets), traits.numbers
    for name, chosen in {one.name: np.ones(len(one.rows), bool), **one.parts}.items():
        counted = chosen[: len(one.sample)]
        counts = counted[molecule]
        removed = reasons_score(atoms, share, offsets, kinds=kinds, counts=counts)
        merged = reasons_score(heavy, heavy_share, offsets, kinds=kinds, counts=counts)
        kept = reasons_score(atoms, share, offsets, counts=counts)
        known = cancels[counted & np.isfinite(cancels)]
        yield SetScore(
            set=name,
            attribution=settings.rule,
            rule=settings.rule,
            explained=removed.molecules,
            score=_number(removed.correlation),
            low=_number(removed.low),
            high=_number(removed.high),
            rank=_number(removed.rank),
            rank_low=_number(removed.rank_low),
            rank_high=_number(removed.rank_high),
            score_kept=_number(kept.correlation),
            rank_kept=_number(kept.rank),
            rank_merged=_number(merged.rank),
            cancellation=_number(float(np.median(known))) if len(known) else None,
        )


def relevances(
    world: World,
    model: Network,
    one: EvaluationSet,
    rows: NDArray[np.int64],
    settings: ExplainSettings,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The relevance of every atom, and the ledger of every molecule, on every rank.

    Parameters
    ----------
    rows : (M,) integer array
        Rows of the set's data.

    Returns
    -------
    (A,) array, (M, K) array
        Target's unit; NaN for a molecule that the network cannot take.
    """
    dtype = next(model.parameters()).dtype
    cuts = np.concatenate([[0], np.cumsum(one.data.atoms[rows])])
    atoms, known = np.zeros(int(cuts[-1])), np.zeros(len(rows))
    ledger: list[NDArray[np.float64]] = [np.zeros((len(rows), 0))]

    def take(places: NDArray[np.int64], batch: Batch) -> None:
        found = explain_by(model, batch, settings)
        values = np.split(_array(found.atoms), np.cumsum(one.data.atoms[rows[places]])[:-1])
        of_molecules = _array(found.ledger)
        if ledger[0].shape[1] == 0:
            ledger[0] = np.zeros((len(rows), of_molecules.shape[1]))
        ledger[0][places] = of_molecules
        known[places] = 1.0
        for place, of_atoms in zip(places.tolist(), values, strict=True):
            atoms[cuts[place] : cuts[place + 1]] = of_atoms

    for places, batch in _batches(world, one, rows, dtype):
        _each(places, batch, one, rows, take)
    return _gathered(world, atoms, ledger[0], known, cuts)


def _gathered(
    world: World,
    atoms: NDArray[np.float64],
    ledger: NDArray[np.float64],
    known: NDArray[np.float64],
    cuts: NDArray[np.int64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The ranks' parts together; NaN where no rank has anything."""
    from hpcml.relevance import LEDGER

    ledger = ledger if ledger.shape[1] else np.zeros((len(known), len(LEDGER)))
    flat = torch.from_numpy(np.concatenate([atoms, ledger.reshape(-1), known]))
    total = world.sum(flat).numpy()
    whole, of_molecules, there = np.split(total, [len(atoms), len(atoms) + ledger.size])
    missing = there == 0
    whole[np.repeat(missing, np.diff(cuts))] = np.nan
    table = of_molecules.reshape(ledger.shape)
    table[missing] = np.nan
    return whole, table


def _array(values: Tensor) -> NDArray[np.float64]:
    return values.detach().double().cpu().numpy()


def _number(value: float) -> Number:
    return float(value) if np.isfinite(value) else None
