"""The network of a run as it was before it learned anything."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from hpcml.training.model_folder import ModelFolder

if TYPE_CHECKING:
    from hpcml.models import Network
    from hpcml.training import ModelInfo


class Begun(msgspec.Struct):
    """Of a run's settings: what decides its first weights, beside the network's own, and what
    it was to keep."""

    seed: int = 1
    keep_epochs: tuple[int, ...] = ()


def begun(folder: ModelFolder) -> Begun:
    """As the settings say; seed zero where a folder has none."""
    if not folder.settings.exists():
        return Begun(seed=0)
    return msgspec.json.decode(folder.settings.read_bytes(), type=Begun)


def first_network(model_folder: Path, info: ModelInfo) -> Network:
    """The network with its first weights, drawn from the run's seed again; in evaluation mode.

    The published files of an ANI network do not tell theirs: torch's usual ones are taken.
    """
    import torch

    from hpcml.models import build

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(begun(ModelFolder(model_folder)).seed)
        return build(info.model, info.hyperparameters, scaling=info.scaling).eval()
