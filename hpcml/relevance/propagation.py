"""Relevance of a batch: what each atom, pair, and feature was worth, and the ledger."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property

import msgspec
import torch
from torch import Tensor, nn

from hpcml.errors import InputError, SettingsError
from hpcml.models.batch import Batch
from hpcml.relevance.engine.composites import composite
from hpcml.relevance.engine.owners import Owners
from hpcml.relevance.engine.registry import HANDLERS
from hpcml.relevance.engine.rules import Composite, Rule
from hpcml.relevance.engine.tape import tag_of
from hpcml.relevance.engine.trace import Trace
from hpcml.relevance.explain_settings import ExplainSettings
from hpcml.relevance.ledger import LEDGER, closure


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
                 only for the layers that were asked for, and none for a layer that is part of a
                 larger affine one or does not lead to the target
    atom_ledger  (A, len(LEDGER)) float64, the part of the ledger that was taken at the row of one
                 atom, and half of what was taken at the row of a pair that it belongs to

    pair_ledger  (P, len(LEDGER)) float64, what was taken at the rows of each pair i < j of one
                 molecule, both ways together; its atoms have it among theirs, half and half

    elsewhere    (len(LEDGER),) float64, what was taken where several molecules meet, or none: zero
                 unless a model mixes its molecules

    prediction = atoms + molecule-wise inputs + ledger, molecule by molecule.
    """

    prediction: Tensor
    ledger: Tensor
    features: dict[str, Tensor]
    kinds: dict[str, str]
    layers: dict[str, Tensor]
    molecule: Tensor
    pairs: Tensor
    atom_ledger: Tensor
    pair_ledger: Tensor
    hidden: dict[str, list[Tensor]] = field(default_factory=dict)
    elsewhere: Tensor | None = None

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
        return closure(self.prediction, self.explained, self.ledger)

    @cached_property
    def molecule_ledger(self) -> Tensor:
        """(M, K) what is truly the molecule's: the ledger less its atoms' parts."""
        return self.ledger.index_add(0, self.molecule, self.atom_ledger, alpha=-1.0)

    @cached_property
    def booked(self) -> Tensor:
        """(A,) relevance of each atom with what its own biases, steps and reference say.

        prediction = booked + molecule-wise inputs + molecule_ledger, molecule by molecule.
        """
        return self.atoms + self.atom_ledger.sum(1)

    def column(self, name: str) -> Tensor:
        """(M,) one column of the ledger.

        Returns
        -------
        (M,) Tensor of float64
            Target's unit.
        """
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

    The model is left as it was found.

    Parameters
    ----------
    batch : Batch or (M, F) Tensor
        What the model's forward takes; the rows of a plain network are explained one by one.
    rule
        A rule's or composite's name with its default settings, or one of one's own.
    target
        Which of the model's T outputs.
    hidden
        Names of layers (as in model.named_modules()) whose outputs' relevance is wanted.

    Raises
    ------
    InputError
        For a layer without a rule.
    """
    wanted = frozenset(hidden)
    return propagate(model, batch, as_composite(rule), target=target, hidden=wanted)


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
    readout: Tensor | None = None,
    hidden: frozenset[str] = frozenset(),
) -> Relevance:
    """One traced forward and one backward.

    Parameters
    ----------
    batch : Batch or (M, F) Tensor
        This and what is not named here: as for ``explain``.
    readout : (A,) Tensor
        Multiplies the relevance that each atom takes from its molecule; all ones by default.
    """
    plain = batch if isinstance(batch, Tensor) else None  # a network without molecules
    if isinstance(batch, Tensor):
        owners = Owners.of_rows(len(batch), batch.device)
        molecule, pairs = batch.new_zeros(0, dtype=torch.int64), batch.new_zeros(2, 0)
    else:
        owners, molecule, pairs = Owners.of_batch(batch), batch.molecule, batch.pairs
    trace = Trace(model, owners, composite, HANDLERS, readout=readout, hidden=hidden)
    with torch.enable_grad(), trace:
        # a plain network has no layer that marks its input
        output = model(batch if plain is None else trace.source("input", "molecule", plain))
    require_traced(output)
    if output.dim() == 1:
        output = output[:, None]
    if output.shape[0] != owners.molecules or not 0 <= target < output.shape[1]:
        raise InputError(
            f"the model's output has shape {tuple(output.shape)}; expected "
            f"({owners.molecules}, more than {target})"
        )
    return backward(trace, output[:, target], molecule, pairs, hidden)


def require_traced(output: Tensor) -> None:
    """Raise unless relevance can begin at a model's output.

    Parameters
    ----------
    output : (M, ...) Tensor
    """
    if tag_of(output) is None:
        if output.requires_grad:
            raise InputError(
                "the model's last operation cannot be seen from here (TorchScript, an "
                "autograd.Function, C++): relevance cannot follow it"
            )
        raise SettingsError("no input and no Embedding leads to the output: nothing to explain")


def backward(
    trace: Trace,
    prediction: Tensor,
    molecule: Tensor,
    pairs: Tensor,
    hidden: frozenset[str] = frozenset(),
) -> Relevance:
    """The backward of a trace, begun with the prediction.

    Parameters
    ----------
    prediction : (M,) Tensor
        Made while the trace was open.
    molecule : (A,) Tensor of int64
    pairs : (2, E) Tensor of int64
    """
    sources = {name: leaf for name, (_, leaf) in trace.sources.items()}
    outputs = [(name, made) for name, several in trace.outputs.items() for made in several]
    asked = [*sources.values(), *(made for _, made in outputs), trace.root]
    gradients = torch.autograd.grad(prediction, asked, prediction.detach(), allow_unused=True)
    found: dict[str, list[Tensor]] = {name: [] for name in hidden}
    for (name, _), gradient in zip(outputs, gradients[len(sources) : -1], strict=True):
        if gradient is not None:
            found[name].append(gradient)
    return Relevance(
        prediction=prediction.detach().double(),
        ledger=trace.ledger.total(),
        features={
            name: torch.zeros_like(leaf) if gradient is None else gradient
            for (name, leaf), gradient in zip(sources.items(), gradients, strict=False)
        },
        kinds={name: kind for name, (kind, _) in trace.sources.items()},
        layers={name: terms[:-1] for name, terms in trace.ledger.layers.items()},
        molecule=molecule,
        pairs=pairs.long(),
        hidden=found,
        atom_ledger=trace.ledger.atoms[:-1],
        pair_ledger=trace.ledger.pairs[:-1],
        elsewhere=trace.ledger.elsewhere(),
    )
