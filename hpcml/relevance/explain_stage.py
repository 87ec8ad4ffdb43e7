"""A whole data set explained: each rank explains shards of its own, and all share what is left."""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from hpcml.errors import InputError, SettingsError
from hpcml.models import Batch, Network, collate, example
from hpcml.progress import Advance, progress, silent
from hpcml.relevance.calibration import calibrated
from hpcml.relevance.comparators import explain_by
from hpcml.relevance.engine.composites import composite
from hpcml.relevance.explain_settings import AUTO, ExplainSettings, target_index
from hpcml.relevance.interactions import interactions
from hpcml.relevance.ledger import LEDGER
from hpcml.relevance.propagation import Relevance
from hpcml.relevance.relevance_rows import RelevanceRow
from hpcml.relevance.rule_choice import told
from hpcml.relevance.shard_turns import Told, cost, dealt, shards_each, told_by_all
from hpcml.store import Dataset, Manifest, shards
from hpcml.store.lines import Entry, add_entry
from hpcml.training.data import share_of_rank
from hpcml.training.model_file import load_model
from hpcml.training.model_folder import ModelFolder
from hpcml.training.run import from_rank_0
from hpcml.training.world import Alone, World

VALUES = (
    *("prediction", "ledger", "relevance", "atom_ledger"),
    *("pair_relevance", "pair_ledger"),
)
_FREE = ("batch_size", "ranks", "threads")
"""Settings that do not change a relevance beyond rounding."""


def explain_dataset(
    dataset: Dataset,
    model_folder: Path,
    destination: Path,
    settings: ExplainSettings,
    world: World,
    *,
    stop: Callable[[], bool] = lambda: False,
) -> bool:
    """Write the relevances of ``dataset`` into ``destination``, as far as they are not there.

    Every rank calls it with the same arguments.  A shard is done again when its data, the model
    or the settings are no longer those it was made with.  A molecule that the network cannot
    take has NaN.  False where ``stop`` said so and work is left.
    """
    torch.set_num_threads(settings.threads)
    settings = _settled(dataset, model_folder, settings, world)
    model, info = load_model(model_folder)
    target = target_index(info.targets, settings.target)
    checksum = hashlib.sha256(ModelFolder(model_folder).network.read_bytes()).hexdigest()
    said = {key: v for key, v in msgspec.to_builtins(settings).items() if key not in _FREE}
    kept = {"model": checksum, "ledger": LEDGER, "values": VALUES}
    identity = json.dumps({**kept, **said}, sort_keys=True)
    unit = info.targets[target].output_unit(info.units[target])
    about = {
        "identity": identity,
        "model": info.model,
        "target": msgspec.json.encode(info.targets[target]).decode(),
        "unit": unit,
        "rule": settings.rule,
        "pairs": settings.pairs,
    }
    missing = _missing(dataset, destination, identity)
    missing = msgspec.json.decode(world.broadcast(msgspec.json.encode(missing)), type=list[str])
    done = len(dataset) - sum(s.rows for s in dataset.shards if s.name in missing)
    work = _Work(model, dataset, destination, settings, target, about, world, stop)
    with ExitStack() as stack:
        advance: Advance = silent
        if world.rank == 0:
            advance = stack.enter_context(progress("explain", len(dataset), before=done))
            advance(done)
        return work.do(missing, lambda rows: advance(done + rows))


@dataclass(frozen=True)
class _Work:
    """What a rank has to do, turn by turn (``shard_turns``).

    about   what every shard of relevances says of itself
    """

    model: Network
    dataset: Dataset
    destination: Path
    settings: ExplainSettings
    target: int
    about: dict[str, str]
    world: World
    stop: Callable[[], bool]

    @cached_property
    def entries(self) -> dict[str, Entry]:
        return {entry.name: entry for entry in self.dataset.entries}

    def _rows(self, names: Sequence[str]) -> int:
        return sum(self.entries[name].rows for name in names)

    def do(self, missing: Sequence[str], advance: Callable[[int], None]) -> bool:
        """Explain these shards; ``advance`` is told how many rows are done.  False: stopped."""
        left, size, rows, seconds = list(missing), self.world.size, 0, 0.0
        while left:
            each = shards_each(len(left), size, seconds)
            count = each * size or 1
            now, left = left[:count], left[count:]
            if each:
                told = self._each_its_own(now, partial(_advance_from, advance, rows))
            else:
                told = self._together(now[0])
            if self.world.rank == 0:
                entries = {entry.name: entry for one in told for entry in one.entries}
                for name in now:
                    if name in entries:
                        add_entry(self.destination, entries[name])
            if any(one.stopped for one in told):
                return False
            seconds = max(one.seconds for one in told) / max(1, each)
            rows += self._rows(now)
            advance(rows)
        return True

    def _each_its_own(self, names: Sequence[str], advance: Callable[[int], None]) -> Sequence[Told]:
        """Whole shards for each rank; rows of the others count as done when this rank's are."""
        began = time.monotonic()
        costs = [cost(self.entries[name]) for name in names]
        entries, stopped, rows = [], False, 0
        for number in sorted(dealt(costs, self.world.size)[self.world.rank]):
            columns, stopped = _explain_shard(
                *(self.model, self.dataset.shard(names[number]), self.settings, self.target),
                world=Alone(),
                stop=self.stop,
            )
            if stopped:
                break
            entries.append(self._write(names[number], columns))
            rows += len(columns["key"])
            advance(min(rows * self.world.size, self._rows(names)))
        return told_by_all(self.world, Told(entries, stopped, time.monotonic() - began))

    def _together(self, name: str) -> Sequence[Told]:
        """The rows of one shard shared by all ranks; rank 0 writes it."""
        columns, stopped = _explain_shard(
            *(self.model, self.dataset.shard(name), self.settings, self.target),
            world=self.world,
            stop=self.stop,
        )
        write = self.world.rank == 0 and not stopped
        return [Told([self._write(name, columns)] if write else [], stopped, 0.0)]

    def _write(self, name: str, columns: dict[str, NDArray[np.generic]]) -> Entry:
        failed = int(np.isnan(columns["prediction"]).sum())
        return shards.put_file(
            self.destination,
            name,
            columns,
            {**self.about, "source": self.entries[name].checksum, "failed": failed},
            units={column: self.about["unit"] for column in VALUES if column in columns},
        )


def _advance_from(advance: Callable[[int], None], before: int, rows: int) -> None:
    advance(before + rows)


def _settled(
    dataset: Dataset, model_folder: Path, settings: ExplainSettings, world: World
) -> ExplainSettings:
    """The settings with the rule that "auto" stands for, on all ranks; rank 0 finds it."""
    if settings.rule != AUTO:
        return settings

    def find() -> bytes:
        chosen = calibrated(dataset, model_folder, settings)
        print(f"explain: {told(chosen)}", file=sys.stderr)
        return chosen.rule.encode()

    return msgspec.structs.replace(settings, rule=from_rank_0(world, find).decode())


def _missing(dataset: Dataset, destination: Path, identity: str) -> list[str]:
    """Names of the shards to explain, in the data set's order."""
    written = Manifest(destination).entries

    def is_done(name: str, checksum: str) -> bool:
        entry = written.get(name)
        if entry is None or entry.attributes.get("source") != checksum:
            return False
        file = shards.shard_file(destination, name)
        return (
            entry.attributes.get("identity") == identity
            and file.is_file()
            and file.stat().st_size == entry.bytes
        )

    return [s.name for s in dataset.shards if not is_done(s.name, s.checksum)]


def _explain_shard(
    model: Network,
    shard: Dataset,
    settings: ExplainSettings,
    target: int,
    *,
    world: World,
    stop: Callable[[], bool],
) -> tuple[dict[str, NDArray[np.generic]], bool]:
    """The columns of a shard's relevances, on every rank; and whether some rank was stopped.

    Each rank explains its share of the rows; what it did not explain is zero, and the sum over
    the ranks is the whole.
    """
    offsets = shard.atom_offsets
    atoms = np.diff(offsets)
    kept = np.zeros_like(atoms) if settings.pairs == "none" else atoms * (atoms - 1) // 2
    pair_offsets = np.concatenate([[0], np.cumsum(kept)])
    found = {
        "prediction": np.zeros(len(shard)),
        "ledger": np.zeros((len(shard), len(LEDGER))),
        "relevance": np.zeros(int(offsets[-1])),
        "atom_ledger": np.zeros((int(offsets[-1]), len(LEDGER))),
        "pair_relevance": np.zeros(int(pair_offsets[-1])),
        "pair_ledger": np.zeros((int(pair_offsets[-1]), len(LEDGER))),
        "stopped": np.zeros(1),
    }
    mine = share_of_rank(np.arange(len(atoms)), atoms, world.rank, world.size)
    for start in range(0, len(mine), settings.batch_size):
        if stop():
            found["stopped"][0] = 1.0
            break
        rows = mine[start : start + settings.batch_size]
        for row, values in explain_rows(model, shard, rows, settings, target):
            of_atoms = slice(*offsets[row : row + 2])
            found["prediction"][row], found["ledger"][row] = values.prediction, values.ledger
            found["relevance"][of_atoms] = values.atoms
            found["atom_ledger"][of_atoms] = values.atom_ledger
            of_pairs = slice(*pair_offsets[row : row + 2])
            found["pair_relevance"][of_pairs] = values.pairs
            found["pair_ledger"][of_pairs] = values.pair_ledger
    whole = _sum_over_ranks(world, found)
    stopped = bool(whole.pop("stopped")[0])
    columns = {"key": shard.column("key"), "atom_offsets": offsets, **whole}
    if settings.pairs == "none":
        del columns["pair_relevance"], columns["pair_ledger"]
    else:
        columns["pair_offsets"] = pair_offsets
    return columns, stopped


def _sum_over_ranks(
    world: World, parts: dict[str, NDArray[np.float64]]
) -> dict[str, NDArray[np.float64]]:
    """Each array summed over the ranks, all in one message."""
    flat = np.concatenate([part.reshape(-1) for part in parts.values()])
    total = world.sum(torch.from_numpy(flat)).numpy()
    pieces = np.split(total, np.cumsum([part.size for part in parts.values()])[:-1])
    wholes = zip(parts.items(), pieces, strict=True)
    return {name: piece.reshape(part.shape) for (name, part), piece in wholes}


def explain_rows(
    model: Network,
    dataset: Dataset,
    rows: NDArray[np.int64],
    settings: ExplainSettings,
    target: int = 0,
) -> Iterator[tuple[int, RelevanceRow]]:
    """(row, its relevance) for each of the rows, in one batch.

    Where the network cannot take a molecule (its bonds are not perceived, an element is not
    known), its values are NaN and the others' are as without it.

    Parameters
    ----------
    rows : (K,) array of int64
        Rows of the data set.
    """
    dtype = next(model.parameters()).dtype
    examples, kept = [], []
    for row in rows.tolist():
        try:
            examples.append(example(dataset.molecules[row], model.inputs))
            kept.append(row)
        except InputError:
            yield row, _not_a_number(len(dataset.molecules[row]), settings)
    if not kept:
        return
    batch = collate(examples, dtype)
    try:
        found = explain_by(model, batch, settings, target=target)
        pairs = _of_pairs(model, batch, found, settings, target)
    except InputError:
        if len(kept) == 1:
            yield kept[0], _not_a_number(len(examples[0].numbers), settings)
            return
        for row in kept:
            yield from explain_rows(model, dataset, np.array([row]), settings, target)
        return
    counts = np.array([len(one.numbers) for one in examples])
    ends = np.cumsum(counts)[:-1]
    atoms = np.split(found.atoms.cpu().numpy(), ends)
    of_atoms = np.split(found.atom_ledger.cpu().numpy(), ends)
    cuts = np.cumsum(counts * (counts - 1) // 2)[:-1]
    pair_ledger = found.pair_ledger.cpu().numpy()[: len(pairs)]  # none where none are kept
    of_pairs = [
        np.split(whole, cuts) if len(pairs) else [whole] * len(kept)
        for whole in (pairs, pair_ledger)
    ]
    predictions, ledger = found.prediction.tolist(), found.ledger.cpu().numpy()
    values = zip(predictions, atoms, ledger, of_atoms, *of_pairs, strict=True)
    yield from zip(kept, (RelevanceRow(*row) for row in values), strict=True)


def _of_pairs(
    model: Network, batch: Batch, found: Relevance, settings: ExplainSettings, target: int
) -> NDArray[np.float64]:
    """(P,) of the pairs i < j of each molecule, both ways together; empty where none is wanted."""
    if settings.pairs == "none":
        return np.empty(0)
    if settings.pairs == "interactions":
        told = interactions(model, batch, composite(settings), target=target)
        return told.of_pairs(batch.molecule).cpu().numpy()
    if "pair" not in found.kinds.values():
        raise SettingsError(
            f"explain.pairs: {type(model).__name__} by {settings.rule!r} gives pairs nothing: "
            '"interactions" or "none"'
        )
    one_way, other_way = found.pair.chunk(2)
    return (one_way + other_way).cpu().numpy()


def _not_a_number(atoms: int, settings: ExplainSettings) -> RelevanceRow:
    pairs = 0 if settings.pairs == "none" else atoms * (atoms - 1) // 2
    shapes = ((atoms,), (len(LEDGER),), (atoms, len(LEDGER)), (pairs,), (pairs, len(LEDGER)))
    return RelevanceRow(np.nan, *(np.full(shape, np.nan) for shape in shapes))
