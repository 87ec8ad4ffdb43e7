"""Other answers to the same question, for comparison, behind the same call.

gradient_times_input    x df/dx of every input feature; exact for a linear network, else the
                        rest is "taylor"
integrated_gradients    x times the mean gradient on the way from zero inputs (Sundararajan et
                        al., arXiv:1703.01365): what is left, "taylor", is the prediction at zero
                        inputs and the error of the quadrature
occlusion               what the prediction loses when an atom's inputs, those of its pairs
                        included, are zero; not additive, so "taylor" takes the rest
atomic_terms            the network's own terms where the prediction is a sum over atoms; they
                        hold their share of mean and references, and nothing is left
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hpcml.errors import InputError, SettingsError
from hpcml.models.batch import Batch
from hpcml.models.layers import Input
from hpcml.models.network import Network
from hpcml.relevance.copies import copies_per_atom
from hpcml.relevance.engine.composites import composite
from hpcml.relevance.engine.owners import Owners
from hpcml.relevance.explain_settings import ExplainSettings
from hpcml.relevance.ledger import LEDGER
from hpcml.relevance.propagation import Relevance, explain

Replace = Callable[[str, str, Tensor], Tensor]


def explain_by(
    model: nn.Module, batch: Batch, settings: ExplainSettings, *, target: int = 0
) -> Relevance:
    """Relevance of a batch by whatever ``settings.rule`` names, a rule or a comparator."""
    if settings.rule == "gradient_times_input":
        return integrated_gradients(model, batch, steps=0, target=target)
    if settings.rule == "integrated_gradients":
        return integrated_gradients(model, batch, steps=settings.steps, target=target)
    if settings.rule == "occlusion":
        return occlusion(model, batch, target=target)
    if settings.rule == "atomic_terms":
        return atomic_terms(model, batch, target=target)
    return explain(model, batch, composite(settings), target=target)


@contextmanager
def inputs_of(model: nn.Module, replace: Replace) -> Iterator[None]:
    """Within the context, what leaves an Input or Embedding layer goes through ``replace``.

    replace   (layer's name, kind of its rows, values) -> values
    """
    hooks = []
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        for name, module in model.named_modules():
            if isinstance(module, Input | nn.Embedding):
                kind = module.rows if isinstance(module, Input) else "atom"

                def change(_: Any, __: Any, out: Tensor, name: str = name, kind: str = kind) -> Any:
                    return replace(name, kind, out)

                hooks.append(module.register_forward_hook(change))
        yield
    finally:
        for hook in hooks:
            hook.remove()
        for module in training:
            module.training = True


def integrated_gradients(
    model: nn.Module, batch: Batch, *, steps: int = 32, target: int = 0
) -> Relevance:
    """Gauss-Legendre quadrature with ``steps`` points; 0 steps: the gradient at the inputs."""
    points, weights = np.array([1.0]), np.array([1.0])
    if steps:
        roots, halves = np.polynomial.legendre.leggauss(steps)
        points, weights = (roots + 1.0) / 2.0, halves / 2.0
    values: dict[str, Tensor] = {}
    kinds: dict[str, str] = {}
    slopes: dict[str, Tensor] = {}
    for point, weight in zip(points.tolist(), weights.tolist(), strict=True):
        leaves: dict[str, Tensor] = {}

        def scaled(name: str, kind: str, out: Tensor, point: float = point,
                   leaves: dict[str, Tensor] = leaves) -> Tensor:  # fmt: skip
            values[name], kinds[name] = out.detach(), kind
            leaves[name] = (point * out.detach()).requires_grad_()
            return leaves[name]

        with torch.enable_grad(), inputs_of(model, scaled):
            output = model(batch)[:, target]
        gradients = torch.autograd.grad(output.sum(), list(leaves.values()), allow_unused=True)
        for name, gradient in zip(leaves, gradients, strict=True):
            slope = torch.zeros_like(leaves[name]) if gradient is None else weight * gradient
            slopes[name] = slopes[name] + slope if name in slopes else slope
    prediction = _predict(model, batch, target)
    features = {name: values[name] * slopes[name] for name in values}
    return _with_rest(batch, prediction, features, kinds)


def occlusion(model: nn.Module, batch: Batch, *, target: int = 0) -> Relevance:
    """One forward for each atom of a molecule, all atoms of many molecules at once."""
    prediction = _predict(model, batch, target)
    without = prediction.new_zeros(batch.atoms)
    for copies in copies_per_atom(batch):
        kept = torch.ones(copies.batch.atoms, device=prediction.device)
        kept[copies.marked] = 0.0
        with torch.no_grad(), inputs_of(model, masking(copies.batch, kept)):
            without[copies.atom] = model(copies.batch)[:, target].double()
    loss = prediction[batch.molecule] - without
    return _with_rest(batch, prediction, {"occlusion": loss[:, None]}, {"occlusion": "atom"})


def masking(batch: Batch, kept: Tensor) -> Replace:
    """Multiplies atoms' inputs by ``kept`` (A,), and pairs' by that of both atoms.

    Parameters
    ----------
    kept : (A,) Tensor
        0 for an atom that is masked, 1 for others.
    """
    of_pairs = kept[batch.pairs[0]] * kept[batch.pairs[1]]

    def masked(name: str, kind: str, out: Tensor) -> Tensor:
        factors = of_pairs if kind == "pair" else kept
        if kind == "molecule":
            raise InputError(f"input {name!r} belongs to whole molecules: atoms cannot be masked")
        factors = factors[: out.shape[0]].to(out.dtype)
        return out * factors.view(-1, *[1] * (out.dim() - 1))

    return masked


def atomic_terms(model: nn.Module, batch: Batch, *, target: int = 0) -> Relevance:
    """The network's own atomic terms; SettingsError where it has none."""
    if not (isinstance(model, Network) and model.additive):
        raise SettingsError(
            f"{type(model).__name__} is no sum of atomic terms as it was trained: choose another "
            "explain.rule"
        )
    prediction = _predict(model, batch, target)
    with torch.no_grad():
        terms = model.atomic_terms(batch)[:, target].double()
    return _with_rest(batch, prediction, {"atomic_terms": terms[:, None]}, {"atomic_terms": "atom"})


def _predict(model: nn.Module, batch: Batch, target: int) -> Tensor:
    """(M,) float64; SettingsError where the model has nothing to explain it by."""
    seen: list[str] = []

    def notice(name: str, kind: str, out: Tensor) -> Tensor:
        seen.append(name)
        return out

    with torch.no_grad(), inputs_of(model, notice):
        prediction: Tensor = model(batch)[:, target].double()
    if not seen:
        raise SettingsError("the model has no Input or Embedding layer: nothing to explain")
    return prediction


def _with_rest(
    batch: Batch, prediction: Tensor, features: dict[str, Tensor], kinds: dict[str, str]
) -> Relevance:
    """The relevance with everything unexplained in the ledger's "taylor" column."""
    empty = torch.zeros(batch.size, len(LEDGER), dtype=torch.float64, device=prediction.device)
    of_atoms = empty.new_zeros(batch.atoms, len(LEDGER))
    of_pairs = empty.new_zeros(Owners.of_batch(batch).pairs, len(LEDGER))
    found = Relevance(
        prediction, empty, features, kinds, {}, batch.molecule, batch.pairs, of_atoms, of_pairs
    )
    ledger = empty.clone()
    ledger[:, LEDGER.index("taylor")] = prediction - found.explained
    return replace(found, ledger=ledger)
