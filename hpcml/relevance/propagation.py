"""Relevance of a batch: what each atom, pair, and feature was worth, and the ledger."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property

import msgspec
import torch
from torch import Tensor, nn

from hpcml.errors import InputError, SettingsError
from hpcml.models.batch import Batch
from hpcml.relevance.engine.composites import composite
from hpcml.relevance.engine.rules import Composite, Rule
from hpcml.relevance.engine.trace import Owners, Trace
from hpcml.relevance.explain_settings import ExplainSettings
from hpcml.relevance.relevance_rows import LEDGER


@dataclass(frozen=True)
class Relevance:
    """A batch's predictions taken apart, in the target's unit.

    prediction   (M,) float64
    ledger       (M, len(LEDGER)) float64, what went to no input, by column
    features     input layer's name -> (rows, F) relevance of each of its features
    kinds        input layer's name -> "atom", "pair", or "molecule"
    layers       layer name -> (M, len(LEDGER)), the ledger by layer; of those that have any
    molecule     (A,) the molecule of each atom
    pairs        (2, E) the batch's ordered pairs
    hidden       layer's name -> relevances of its outputs, one tensor for each call of the layer;
                 only for the layers that were asked for

    prediction = atoms + molecule-wise inputs + ledger, molecule by molecule.
    """

    prediction: Tensor
    ledger: Tensor
    features: dict[str, Tensor]
    kinds: dict[str, str]
    layers: dict[str, Tensor]
    molecule: Tensor
    pairs: Tensor
    hidden: dict[str, list[Tensor]] = field(default_factory=dict)

    def _of_kind(self, kind: str, rows: int) -> Tensor:
        """(rows,) float64, features and inputs of one kind of rows summed."""
        found = self.prediction.new_zeros(rows)
        for name, features in self.features.items():
            if self.kinds[name] == kind:
                values = features.double().flatten(start_dim=1).sum(1)
                found[: values.shape[0]] += values  # pairs held once fill the first half
        return found

    @cached_property
    def own(self) -> Tensor:
        """(A,) relevance of each atom's own inputs."""
        return self._of_kind("atom", self.molecule.shape[0])

    @cached_property
    def pair(self) -> Tensor:
        """(E,) relevance of each ordered pair's inputs."""
        return self._of_kind("pair", self.pairs.shape[1])

    @cached_property
    def atoms(self) -> Tensor:
        """(A,) relevance of each atom: its own and half of each pair's that it belongs to."""
        total = self.own.clone()
        for end in self.pairs:
            total.index_add_(0, end, 0.5 * self.pair)
        return total

    @cached_property
    def explained(self) -> Tensor:
        """(M,) relevance of all inputs of each molecule."""
        total = self._of_kind("molecule", self.prediction.shape[0])
        return total.index_add(0, self.molecule, self.atoms)

    @cached_property
    def closure(self) -> Tensor:
        """(M,) prediction less everything it was taken apart into; zero to rounding."""
        return self.prediction - self.explained - self.ledger.sum(1)

    def column(self, name: str) -> Tensor:
        """(M,) one column of the ledger."""
        return self.ledger[:, LEDGER.index(name)]


def explain(
    model: nn.Module,
    batch: Batch | Tensor,
    rule: str | Rule | Composite = "epsilon",
    *,
    target: int = 0,
    hidden: Iterable[str] = (),
) -> Relevance:
    """Relevance of every input of every molecule of a batch, by one backward.

    batch    what the model's forward takes: a Batch, or for a plain network a tensor (M, F)
             whose rows are explained one by one
    rule     a rule's or composite's name with its default settings, or one of one's own
    target   which of the model's T outputs
    hidden   names of layers (as in model.named_modules()) whose outputs' relevance is wanted

    The model is left as it was found. Raises InputError for a layer without a rule.
    """
    keep = frozenset(hidden)
    return propagate(model, batch, as_composite(rule), target=target, keep=keep)


def as_composite(rule: str | Rule | Composite) -> Composite:
    """The composite that a name, a rule, or a composite stands for."""
    if isinstance(rule, str):
        return composite(msgspec.convert({"rule": rule}, ExplainSettings))
    return rule if isinstance(rule, Composite) else Composite(above=rule)


def propagate(
    model: nn.Module,
    batch: Batch | Tensor,
    composite: Composite,
    *,
    target: int = 0,
    seed: Callable[[Tensor], Tensor] | None = None,
    replace: Callable[[str, str, Tensor], Tensor] | None = None,
    readout: Tensor | None = None,
    keep: frozenset[str] = frozenset(),
) -> Relevance:
    """One traced forward and one backward.

    seed       relevance (M,) to start from, made from the prediction (M,); the prediction itself
               by default
    replace, readout, keep    see ``Trace``
    """
    if isinstance(batch, Tensor):
        owners = Owners.of_rows(batch.shape[0], batch.device)
    else:
        owners = Owners.of_batch(batch) if readout is None else Owners.of_atoms(batch)
    with (
        torch.enable_grad(),
        Trace(model, owners, composite, replace=replace, readout=readout, keep=keep) as trace,
    ):
        # a plain network has no layer that marks its input
        inputs = trace.source("input", "molecule", batch) if isinstance(batch, Tensor) else batch
        output = model(inputs)
    if output.dim() == 1:
        output = output[:, None]
    if output.shape[0] != owners.molecules or not 0 <= target < output.shape[1]:
        raise InputError(
            f"the model's output has shape {tuple(output.shape)}; expected "
            f"({owners.molecules}, more than {target})"
        )
    if not output.requires_grad:
        raise SettingsError("the model has no Input or Embedding layer: nothing to explain")
    prediction = output[:, target]
    start = prediction.detach() if seed is None else seed(prediction.detach())
    names, sources = list(trace.sources), [leaf for _, leaf in trace.sources.values()]
    outputs = [(name, made) for name, several in trace.kept.items() for made in several]
    asked = [*sources, *(made for _, made in outputs), trace.nothing]
    gradients = [
        torch.zeros_like(tensor) if gradient is None else gradient
        for tensor, gradient in zip(
            asked, torch.autograd.grad(prediction, asked, start, allow_unused=True), strict=True
        )
    ]
    layers = {name: owners.by_molecule(sums) for name, sums in trace.ledgers.items()}
    none_left = torch.zeros(owners.molecules, len(LEDGER), dtype=torch.float64, device=start.device)
    kept: dict[str, list[Tensor]] = {name: [] for name in trace.kept}
    for (name, _), gradient in zip(outputs, gradients[len(sources) : -1], strict=True):
        kept[name].append(gradient)
    none = torch.zeros(2, 0, dtype=torch.int64, device=prediction.device)
    return Relevance(
        prediction=start.double(),
        ledger=sum(layers.values(), none_left),
        features=dict(zip(names, gradients, strict=False)),
        kinds={name: kind for name, (kind, _) in trace.sources.items()},
        layers=layers,
        molecule=none[0] if isinstance(batch, Tensor) else batch.molecule,
        pairs=none if isinstance(batch, Tensor) else batch.pairs,
        hidden=kept,
    )
