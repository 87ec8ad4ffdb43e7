"""Published ANI networks from the files of NeuroChem, the program that trained them.

A folder holds ``*.params`` (the environment's constants), ``sae_linfit.dat`` (an energy of
each element, hartree), and ``networks/ANN-<element>.nnf`` with the weights beside it: one
``networks`` folder for a single network, ``train0/networks`` and so on for an ensemble.
"""

from __future__ import annotations

import bz2
import re
from pathlib import Path

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from hpcml.errors import InputError
from hpcml.models.aev import AEVConstants
from hpcml.models.ani import ANI, ANISettings
from hpcml.models.readout import Scaling
from hpcml.molecules.molecule import atomic_number

_ACTIVATIONS = {5: "gaussian", 6: "linear", 9: "celu"}
_PARAMETERS = [field.name for field in msgspec.structs.fields(AEVConstants)]


class _Layer(msgspec.Struct, frozen=True):
    """One layer of a network file: (outputs, inputs) weights, (outputs,) biases."""

    activation: str
    weight: NDArray[np.float32]
    bias: NDArray[np.float32]


def read_neurochem(folder: str | Path) -> ANI:
    """The network or ensemble of a folder, in evaluation mode; energies in hartree.

    Raises InputError for a file that is missing or is not what its name says.
    """
    folder = Path(folder)
    elements, constants = _read_parameters(_only(folder, "*.params"))
    energies = _read_energies(_only(folder, "sae*.dat"), elements)
    members = sorted(folder.glob("train*/networks")) or [folder / "networks"]
    networks = [
        [_read_network(member / f"ANN-{element}.nnf") for element in elements] for member in members
    ]
    kinds = {layer.activation for layers in networks[0] for layer in layers[:-1]}
    if len(kinds) != 1 or any(layers[-1].activation != "linear" for layers in networks[0]):
        raise InputError(f"{folder}: networks with activations {sorted(kinds)} are not ANI's")
    settings = msgspec.convert(
        {
            "elements": [atomic_number(element) for element in elements],
            "hidden": [[len(layer.bias) for layer in layers[:-1]] for layers in networks[0]],
            "activation": kinds.pop(),
            "members": len(members),
            "aev": constants,
        },
        ANISettings,
    )
    references: dict[int, tuple[float, ...]] = {
        atomic_number(element): (energies[element],) for element in elements
    }
    model = ANI(settings, Scaling(references=references)).eval()
    for member, network in zip(model.members, networks, strict=True):
        for affine, layers in zip(member.affine_layers(), network, strict=True):
            for linear, layer in zip(affine, layers, strict=True):
                _fill(linear, layer, folder)
    return model


def _fill(linear: nn.Linear, layer: _Layer, folder: Path) -> None:
    if tuple(linear.weight.shape) != layer.weight.shape:
        raise InputError(
            f"{folder}: a layer of shape {layer.weight.shape} stands where its network "
            f"needs {tuple(linear.weight.shape)}"
        )
    with torch.no_grad():
        linear.weight.copy_(torch.from_numpy(layer.weight))
        linear.bias.copy_(torch.from_numpy(layer.bias))


def _only(folder: Path, pattern: str) -> Path:
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        raise InputError(f"{folder}: needs one file {pattern}, has {len(found)}")
    return found[0]


def _read_parameters(path: Path) -> tuple[list[str], dict[str, float | list[float]]]:
    """Elements, and the fields of AEVConstants."""
    lines = dict(re.findall(r"^(\w+)\s*=\s*(.+?)\s*$", path.read_text(), re.MULTILINE))
    constants: dict[str, float | list[float]] = {}
    try:
        for name in _PARAMETERS:
            values = [float(word) for word in lines[name].strip("[]").split(",")]
            constants[name] = values if name.startswith("Shf") else values[0]
            if not name.startswith("Shf") and len(values) > 1:
                raise InputError(f"{path}: {name} has {len(values)} values, one is supported")
        elements = [word.strip() for word in lines["Atyp"].strip("[]").split(",")]
    except (KeyError, ValueError) as error:
        raise InputError(f"{path}: not a NeuroChem parameter file: {error}") from error
    return elements, constants


def _read_energies(path: Path, elements: list[str]) -> dict[str, float]:
    """Element symbol -> energy of the atom, hartree; lines such as ``C,1=-38.0375``."""
    found = re.findall(r"^(\w+),\d+=\s*(\S+)\s*$", path.read_text(), re.MULTILINE)
    try:
        energies = {element: float(energy) for element, energy in found}
    except ValueError as error:
        raise InputError(f"{path}: not a list of atomic energies: {error}") from error
    missing = [element for element in elements if element not in energies]
    if missing:
        raise InputError(f"{path}: has no energy of {', '.join(missing)}")
    return energies


def _read_network(path: Path) -> list[_Layer]:
    """The layers of one element: a text compressed by bz2 behind a line with its length."""
    try:
        text = bz2.decompress(path.read_bytes().split(b"\n", 1)[1]).decode()
    except (OSError, IndexError, ValueError) as error:
        raise InputError(f"{path}: not a NeuroChem network: {error}") from error
    layers = []
    for block in re.findall(r"layer\s*\[(.*?)\n\]", text, re.DOTALL):
        fields = dict(re.findall(r"(\w+)=(.*?);", block))
        try:
            shape = int(fields["nodes"]), int(fields["blocksize"])
            activation = _ACTIVATIONS[int(fields["activation"])]
            weight, bias = (
                _read_floats(path.parent, fields[name], count)
                for name, count in (("weights", shape[0] * shape[1]), ("biases", shape[0]))
            )
        except (KeyError, ValueError) as error:
            raise InputError(f"{path}: a layer cannot be read: {error}") from error
        layers.append(_Layer(activation, weight.reshape(shape), bias))
    if not layers:
        raise InputError(f"{path}: has no layers")
    return layers


def _read_floats(folder: Path, entry: str, count: int) -> NDArray[np.float32]:
    """Little-endian float32 of an entry such as ``FILE:ANN-H.nnf-l1.wparam[61440]``."""
    named = re.fullmatch(r"FILE:([\w.+-]+)\[\d+\]", entry)
    if named is None:
        raise InputError(f"{folder}: {entry!r} does not name a file of weights")
    path = folder / named[1]
    try:
        values = np.fromfile(path, dtype="<f4")
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    if values.size != count or not np.isfinite(values).all():
        raise InputError(f"{path}: needs {count} finite numbers, has {values.size}")
    return values
