"""``hpcml analyze --weights``: what training has done to the weights of each layer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hpcml.analysis.analyze_stage import Table, write_table
from hpcml.analysis.first_network import begun, first_network
from hpcml.analysis.weight_spectra import Spectrum, input_norms, spectrum
from hpcml.errors import InputError
from hpcml.files import make_folder
from hpcml.training.model_folder import ModelFolder

if TYPE_CHECKING:
    from hpcml.models import Network
    from hpcml.training import ModelInfo

_MOST_LINES = 5  # on the screen: layers, and features

BEST = "best"
"""Stands for an epoch in the tables: that of the least validation error, whose weights are used."""

Weights = Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True)
class WeightAnalysis:
    """What is known of a network's weights.

    spectra   of the layers, by name
    inputs    lines of the features that the first layers read
    kept      spectra after the epochs that training was told to keep, by epoch
    """

    spectra: dict[str, Spectrum]
    inputs: Table
    kept: dict[int, dict[str, Spectrum]]

    def by_epoch(self) -> Iterator[tuple[str, str, Spectrum]]:
        """Epoch, layer, and spectrum; the network itself, which is that of BEST, comes last."""
        epochs = [*((str(epoch), of) for epoch, of in self.kept.items()), (BEST, self.spectra)]
        for epoch, spectra in epochs:
            for layer, one in spectra.items():
                yield epoch, layer, one

    def lines(self) -> list[str]:
        """A few lines for the screen: the layers and the features that changed most."""
        known = {name: one for name, one in self.spectra.items() if not one.begins_at_zero}
        above = _layers_above(known)
        fresh = sum(bool(one.initial[0] > one.limit) for one in known.values())
        told = [
            f"{above} of {len(known)} layers have singular values above the random-matrix edge "
            f"(with 99 % margin; {fresh} with first weights)"
        ]
        if len(known) < len(self.spectra):
            told[0] += f"; {len(self.spectra) - len(known)} begin at zero and have no such edge"

        if self.kept:
            counts = [f"{_layers_above(of)} ({epoch})" for epoch, of in self.kept.items()]
            told.append(f"layers above after earlier epochs: {', '.join(counts)}")

        def strength(name: str) -> float:
            return float(known[name].values[0] / known[name].limit)

        for name in sorted(known, key=strength, reverse=True)[:_MOST_LINES]:
            one = known[name]
            told.append(
                f"  {name} ({one.rows} x {one.columns}): {(one.values > one.limit).sum()} above, "
                f"{(one.values > one.own_limit).sum()} also for its own size; "
                f"largest / edge {strength(name):.2f} ({one.initial[0] / one.limit:.2f} at first)"
            )
        grown = [line for line in self.inputs if line["growth"] is not None]
        grown.sort(key=lambda line: float(str(line["growth"])), reverse=True)
        if grown:
            told.append("features whose weights grew most:")
        told += [
            f"  {line['feature']}: {line['growth']:.2f} times ({line['layer']})"
            for line in grown[:_MOST_LINES]
        ]
        if not self.inputs:
            told.append("no table of features: what this network reads has no names")
        return told


def analyze_weights(model_folder: Path) -> WeightAnalysis:
    """Hold the weights of a model folder's network against its first weights.

    Those are the run's own, drawn from its seed again; of an ensemble it is the first member.
    The published files of an ANI network do not tell theirs: torch's usual ones are taken.

    Parameters
    ----------
    model_folder
        Of a run, or with the published files of an ANI network.

    Raises
    ------
    InputError
        Where there is no network, or one that cannot be built with fresh weights.
    """
    from hpcml.training import load_ensemble

    ensemble = load_ensemble(model_folder)
    model, info = ensemble.models[0], ensemble.info
    folder = ModelFolder(model_folder)
    trained, first = _matrices(model), _matrices(first_network(model_folder, info))
    if {n: w.shape for n, w in trained.items()} != {n: w.shape for n, w in first.items()}:
        raise InputError(
            f"{model_folder}: the network built anew has layers of other sizes: "
            "its settings are not those of its weights"
        )
    spectra = _spectra(trained, first)
    kept = {
        epoch: _spectra(weights, first)
        for epoch in sorted(begun(folder).keep_epochs)
        if (weights := _kept(folder.epoch(epoch), info)) is not None
    }
    names = model.column_names()
    inputs: Table = [
        {"input": source, "layer": layer, **line}
        for source, layers in model.first_layers().items()
        for layer in layers
        for line in input_norms(trained[layer], first[layer], names[source])
    ]
    return WeightAnalysis(spectra, inputs, kept)


def write_weights(found: WeightAnalysis, destination: Path) -> dict[str, Path]:
    """Write the tables, and say where each lies: name -> file.

    weights.csv          a line a layer: sizes, largest singular values, edges, how many lie above;
                         after each kept epoch, and of the network itself (epoch "best")
    weight_spectra.csv   every singular value, of the trained and of the first weights
    weight_inputs.csv    norms by named input feature of the layers that read them; only where
                         features have names
    """
    tables: dict[str, Table] = {
        "weights": [
            {"epoch": epoch, "layer": layer, **one.summary()}
            for epoch, layer, one in found.by_epoch()
        ],
        "weight_spectra": [
            {"epoch": epoch, "layer": layer, "number": number, "value": now, "initial": then}
            for epoch, layer, one in found.by_epoch()
            for number, (now, then) in enumerate(
                zip(one.values.tolist(), one.initial.tolist(), strict=True), 1
            )
        ],
    }
    if found.inputs:
        tables["weight_inputs"] = found.inputs
    make_folder(destination)
    (destination / "weight_inputs.csv").unlink(missing_ok=True)  # of another network, perhaps
    files = {name: destination / f"{name}.csv" for name in tables}
    for name, table in tables.items():
        write_table(files[name], table)
    return files


def _matrices(model: Network) -> dict[str, NDArray[np.float64]]:
    """The weights that are matrices, by their layer's name: linear maps and embeddings."""
    return {
        name.removesuffix(".weight"): values.detach().double().cpu().numpy()
        for name, values in model.named_parameters()
        if values.dim() == 2
    }


def _layers_above(spectra: Mapping[str, Spectrum]) -> int:
    return sum(
        bool(one.values[0] > one.limit) for one in spectra.values() if not one.begins_at_zero
    )


def _spectra(trained: Weights, first: Weights) -> dict[str, Spectrum]:
    return {name: spectrum(weights, first[name]) for name, weights in trained.items()}


def _kept(folder: ModelFolder, info: ModelInfo) -> Weights | None:
    """The weights after an epoch; None where it was not reached, or an earlier run's lie there."""
    from hpcml.training import load_model

    if not folder.network.exists():
        return None
    model, of_kept = load_model(folder.path)
    return _matrices(model) if of_kept == info else None
