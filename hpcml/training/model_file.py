"""A trained network as one file: weights, and what must be known to use them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import Tensor

from hpcml import __version__
from hpcml.errors import InputError, SettingsError
from hpcml.files import write_whole
from hpcml.models import Network, Scaling, build
from hpcml.training.checkpoint import pack, unpack
from hpcml.training.levels import joined
from hpcml.training.model_folder import ModelFolder
from hpcml.training.targets import Target


class ModelInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What a network is and what it has seen.

    model, hyperparameters    to build it again
    targets, units            of its T outputs
    scaling                   of the targets
    levels                    of theory of the training data: "B3LYP/6-31+G(d)", none if not told
    elements                  atomic numbers among the training molecules
    heavy_atoms               most in one training molecule
    charges, multiplicities   among the training molecules
    nearest, farthest         distances of two atoms of a training molecule, angstrom; 0: not known
    pieces                    most in one training molecule with no bond between them
    geometries_made           a force field made the geometries, from SMILES
    train_rows                molecules it was trained on
    fingerprint               of the data set
    version                   of hpcml that trained it
    """

    model: str
    hyperparameters: dict[str, Any]
    targets: tuple[Target, ...]
    units: tuple[str, ...]
    scaling: Scaling
    levels: tuple[str, ...] = ()
    elements: tuple[int, ...] = ()
    heavy_atoms: int = 0
    charges: tuple[int, ...] = ()
    multiplicities: tuple[int, ...] = ()
    nearest: float = 0.0
    farthest: float = 0.0
    pieces: int = 1
    geometries_made: bool = False
    train_rows: int = 0
    fingerprint: str = ""
    version: str = __version__

    @property
    def labels(self) -> tuple[str, ...]:
        """The targets' names in tables."""
        return tuple(target.label for target in self.targets)

    @property
    def target(self) -> str:
        """The label of a single target, several joined by commas."""
        return ", ".join(self.labels)

    @property
    def level(self) -> str:
        """The level of theory of the training data in words, "" if it is not told."""
        return joined(self.levels)

    @property
    def unit(self) -> str:
        """The unit of a single target, several joined by commas."""
        return ", ".join(self.units)


def save_model(folder: Path | str, state: Mapping[str, Tensor], info: ModelInfo) -> None:
    """Write the network into ``folder``, replacing the one there.

    Parameters
    ----------
    state : name -> Tensor of the shape of that weight or buffer
    info : ModelInfo
        What must be known to use it.
    """
    about = msgspec.json.encode(info).decode()
    write_whole(ModelFolder(folder).network, pack("model", {"info": about, "state": dict(state)}))


def load_model(folder: Path | str) -> tuple[Network, ModelInfo]:
    """The network of a model folder, in evaluation mode on the CPU, and what is known of it.

    Raises InputError where there is none, or it was written by another version or changed.
    """
    path = ModelFolder(folder).network
    try:
        content = path.read_bytes()
    except OSError:
        raise InputError(f"{path}: no trained model there (hpcml train makes one)") from None
    loaded = unpack("model", content, str(path))
    try:
        # JSON has text keys only; strict=False reads the scaling's atomic numbers back
        info = msgspec.convert(json.loads(loaded["info"]), ModelInfo, strict=False)
        model = build(info.model, info.hyperparameters, scaling=info.scaling)
        state = loaded["state"]
        if any(v.dtype == torch.float64 for n, v in state.items() if n.endswith("weight")):
            model.double()
        model.load_state_dict(state)
    except (KeyError, RuntimeError, SettingsError, msgspec.ValidationError) as error:
        raise InputError(
            f"{path}: does not fit the networks of this version of hpcml ({error})"
        ) from error
    model.eval()
    return model, info
