"""The state of a training run on disk: whole, exact, and read without executing anything."""

from __future__ import annotations

import io
import pickle
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hpcml.errors import InputError
from hpcml.files import write_whole
from hpcml.training.identity import differences

FORMAT = 2
State = dict[str, Tensor]


@dataclass
class Progress:
    """Where a run stands.  Together with the settings and the data it determines the rest.

    Batches, orders and dropout masks are functions of seed, epoch and step, so no state of a
    random generator is part of it.

    epoch, step       finished epochs, and finished steps of the present one
    loss_sum          of this epoch's molecules so far, over all ranks
    model             the weights and buffers
    average           their moving average, {} without one
    optimizer         its state_dict
    best              weights with the least validation error so far
    best_error        that error (scaled, mean over targets)
    waited            epochs since then
    reductions        of the learning rate by the plateau schedule
    since_reduction   epochs since the last of them, or since the best
    curve             one row an epoch: what metrics.csv holds
    seconds           spent so far, and the part of it spent on batches
    """

    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    model: State = field(default_factory=dict)
    average: State = field(default_factory=dict)
    optimizer: dict[str, Any] = field(default_factory=dict)
    best: State = field(default_factory=dict)
    best_error: float = float("inf")
    waited: int = 0
    reductions: int = 0
    since_reduction: int = 0
    curve: list[list[float]] = field(default_factory=list)
    seconds: float = 0.0
    loading_seconds: float = 0.0


def pack(kind: str, content: dict[str, Any]) -> bytes:
    """Tensors, numbers, strings and containers of them as bytes."""
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, "kind": kind, **content}, buffer)
    return buffer.getvalue()


def unpack(kind: str, content: bytes, where: str) -> dict[str, Any]:
    """Inverse of ``pack``; InputError for anything else, and for another version.

    No code in the bytes is run (weights_only).
    """
    try:
        loaded = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{where}: cannot be read as a {kind} ({first})") from None
    if not isinstance(loaded, dict) or loaded.get("kind") != kind:
        raise InputError(f"{where}: is no {kind} of hpcml")
    if loaded["format"] != FORMAT:
        raise InputError(
            f"{where}: a {kind} of format {loaded['format']}, this version reads {FORMAT}: "
            "use the version of hpcml that wrote it, or train again"
        )
    return {name: value for name, value in loaded.items() if name not in ("format", "kind")}


def save_progress(path: Path, progress: Progress, identity: dict[str, str]) -> None:
    """Replace the checkpoint; ``identity`` is what must be the same when the run goes on."""
    content = {item.name: getattr(progress, item.name) for item in fields(progress)}
    write_whole(path, pack("checkpoint", {"identity": identity, **content}))


def read_progress(content: bytes, identity: dict[str, str], where: str) -> Progress:
    """The checkpoint of this very run; InputError naming what differs if it is another's."""
    loaded = unpack("checkpoint", content, where)
    theirs: dict[str, str] = loaded.pop("identity")
    found = differences(theirs, identity)
    differing = [f"{name} was {before}, is {now}" for name, (before, now) in found.items()]
    if differing:
        raise InputError(
            f"{where}: belongs to another run ({'; '.join(differing)}): "
            "train into a new folder, or remove this file to start over"
        )
    return Progress(**loaded)
