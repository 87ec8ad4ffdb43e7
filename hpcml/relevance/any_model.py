"""Relevance for a model that somebody else wrote, as it is.

>>> found = hpcml.explain(model, inputs, atoms=batch)  # doctest: +SKIP
>>> found.atoms, found.closure  # doctest: +SKIP

What takes relevance are the model's floating-point inputs, or, in a model with an Embedding, the
learned vectors, unless ``of`` says otherwise.  Everything in between is traced function by function
(``engine.functions``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn

from hpcml.errors import InputError
from hpcml.relevance.engine.owners import Owner, Owners
from hpcml.relevance.engine.registry import HANDLERS
from hpcml.relevance.engine.rules import Composite, Rule
from hpcml.relevance.engine.trace import Trace
from hpcml.relevance.propagation import Relevance, as_composite, backward, require_traced

KINDS = ("atom", "pair", "molecule")
Output = int | str | Callable[[Any], Tensor]


def explain(
    model: nn.Module,
    inputs: Any,
    *,
    output: Output = 0,
    rule: str | Rule | Composite = "epsilon",
    atoms: Tensor | None = None,
    bonds: Tensor | None = None,
    of: Iterable[str] | Mapping[str, str] | None = None,
) -> Relevance:
    """Relevance of the inputs of any torch model, by one backward; the model is left as it was.

    Parameters
    ----------
    inputs
        What the model's forward takes: one tensor or object, a tuple of positional arguments, or
        a dict of named ones (a dict that is itself the one argument goes into a tuple).
    output
        Column of the model's output, key of it, or a function from it to one number a molecule.
    rule
        A rule's or composite's name, or one of one's own.  Of two signals that are multiplied both
        take half (AttnLRP), unless a Composite says products="weight": then what a sigmoid or
        softmax made is the gate and takes nothing.
    atoms : (A,) Tensor of int64, or None
        The molecule of each atom, ascending; None: each row of an input stands for itself.
    bonds : (2, E) Tensor of int64, or None
        The atoms of each row of an input about bonds or pairs; by default the one integer tensor
        among the inputs of that shape.
    of
        Names of the inputs that take relevance, as in ``Relevance.features``: their place among the
        arguments or their key, then fields after dots; with their kinds ("atom", "pair",
        "molecule"), where those cannot be told by the number of rows.

    Raises
    ------
    InputError
        For a function without a rule, with its line in the model; for inputs whose rows stand for
        nothing known.
    """
    named = dict(_tensors(inputs))
    owners, molecule, pairs = _owners(named, atoms, bonds)
    wanted = _wanted(model, named, owners, of)
    args, kwargs = _arguments(inputs)
    composite = as_composite(rule)
    if not isinstance(rule, Composite):
        composite = Composite(composite.above, composite.below, "halves")
    expected = _ordinary(model, args, kwargs, output)
    trace = Trace(model, owners, composite, HANDLERS)
    with _visible([named[name] for name in wanted]), torch.enable_grad(), trace:
        for name, kind in wanted.items():
            trace.overwrite(named[name], trace.source(name, kind, named[name]))
        prediction = _numbers(model(*args, **kwargs), output)
    _check(prediction, expected, owners)
    require_traced(prediction)
    return backward(trace, prediction, molecule, pairs)


@contextmanager
def _visible(inputs: Sequence[Tensor]) -> Iterator[None]:
    """Whatever an operation that cannot be seen makes of these inputs shows that it did."""
    changed = [one for one in inputs if one.is_floating_point() and not one.requires_grad]
    for one in changed:
        one.requires_grad_()
    try:
        yield
    finally:
        for one in changed:
            one.requires_grad_(False)


def _arguments(inputs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if isinstance(inputs, tuple) and not hasattr(inputs, "_fields"):
        return inputs, {}
    return ((), inputs) if isinstance(inputs, dict) else ((inputs,), {})


def _tensors(value: Any, name: str = "") -> Iterable[tuple[str, Tensor]]:
    """Every tensor of the inputs, with its name."""
    if isinstance(value, Tensor):
        yield name or "input", value
        return
    for key, one in _parts(value):
        yield from _tensors(one, f"{name}.{key}" if name else str(key))


def _parts(value: Any) -> Iterable[tuple[Any, Any]]:
    if isinstance(value, Mapping):
        return value.items()
    if hasattr(value, "_fields"):  # a named tuple
        return zip(value._fields, value, strict=True)
    if isinstance(value, tuple | list):
        return enumerate(value)
    if is_dataclass(value):
        return [(one.name, getattr(value, one.name)) for one in fields(value)]
    if hasattr(value, "to_dict"):  # torch_geometric's Data
        return [(key, value[key]) for key in value.to_dict()]
    return []


def _owners(
    named: Mapping[str, Tensor], atoms: Tensor | None, bonds: Tensor | None
) -> tuple[Owners, Tensor, Tensor]:
    """What rows stand for, the molecule of each atom, and the ordered pairs."""
    if atoms is None:
        first = next((one for one in named.values() if one.dim()), None)
        if first is None:
            raise InputError("the model's inputs hold no tensor: nothing to explain")
        none = first.new_zeros(0, dtype=torch.int64)
        return Owners.of_rows(len(first), first.device), none, none.new_zeros(2, 0)
    molecule = atoms.detach().long()
    if molecule.dim() != 1 or not len(molecule) or bool((molecule.diff() < 0).any()):
        raise InputError(
            "atoms must give each atom's molecule (A,), ascending, for one atom or more"
        )
    number, size = len(molecule), int(molecule[-1]) + 1
    places = torch.arange(number, device=molecule.device)
    kinds = {
        "atom": Owner(molecule, torch.stack([places, places]), number),
        "molecule": Owner.of_molecules(torch.arange(size, device=molecule.device), number),
    }
    found = _bonds(named, number) if bonds is None else bonds
    pairs = molecule.new_zeros(2, 0) if found is None else found.detach().long()
    if found is not None:
        kinds["pair"] = Owner(molecule.index_select(0, pairs[0]), pairs, number)
    return Owners(kinds, size, number), molecule, pairs


def _bonds(named: Mapping[str, Tensor], atoms: int) -> Tensor | None:
    """The one integer tensor (2, E) of numbers of atoms."""
    shaped = [one for one in named.values() if one.dim() == 2 and len(one) == 2]
    whole = [one for one in shaped if not one.is_floating_point() and one.dtype != torch.bool]
    fitting = [
        one for one in whole if one.numel() and 0 <= int(one.min()) <= int(one.max()) < atoms
    ]
    return fitting[0] if len(fitting) == 1 else None


def _wanted(
    model: nn.Module,
    named: Mapping[str, Tensor],
    owners: Owners,
    of: Iterable[str] | Mapping[str, str] | None,
) -> dict[str, str]:
    """Inputs that take relevance, with the kind of their rows."""
    if of is None:
        if any(isinstance(layer, nn.Embedding) for layer in model.modules()):
            return {}
        names = [name for name, one in named.items() if one.is_floating_point() and one.dim()]
        told: dict[str, str] = {}
    else:
        names, told = list(of), dict(of) if isinstance(of, Mapping) else {}
    for name in names:
        if name not in named or not named[name].is_floating_point():
            floating = ", ".join(n for n, one in named.items() if one.is_floating_point())
            raise InputError(f"no floating-point input {name!r}; there are {floating}")
    kinds = {name: told.get(name) or _kind(named[name], name, owners) for name in names}
    return {name: kind for name, kind in kinds.items() if kind is not None}


def _kind(tensor: Tensor, name: str, owners: Owners) -> str | None:
    """What the rows of an input stand for, by their number; None of a constant."""
    fitting = [
        kind for kind in KINDS if kind in owners.kinds and len(owners.kinds[kind]) == len(tensor)
    ]
    if len(fitting) > 1:
        raise InputError(
            f"the {len(tensor)} rows of input {name!r} may be of kind {' or '.join(fitting)}: "
            f"say which, as of={{{name!r}: {fitting[0]!r}}}"
        )
    return fitting[0] if fitting else None


def _ordinary(model: nn.Module, args: Any, kwargs: Any, output: Output) -> Tensor:
    """What the model says when nobody looks on, outside training."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        with torch.no_grad():
            return _numbers(model(*args, **kwargs), output)
    finally:
        for module in training:
            module.training = True


def _numbers(made: Any, output: Output) -> Tensor:
    """One number a molecule."""
    if callable(output):
        made = output(made)
    elif isinstance(output, str):
        made = made[output]
    if not isinstance(made, Tensor):
        kind = type(made).__name__
        raise InputError(f"the model's output is a {kind}: say which part of it by output=")
    if made.dim() == 2:
        column = output if isinstance(output, int) else 0
        if not 0 <= column < made.shape[1]:
            raise InputError(f"the model's output has {made.shape[1]} columns, no number {column}")
        made = made[:, column]
    numbers: Tensor = made.reshape(1) if made.dim() == 0 else made
    return numbers


def _check(prediction: Tensor, expected: Tensor, owners: Owners) -> None:
    if prediction.shape != (owners.molecules,):
        raise InputError(
            f"the model's output has shape {tuple(prediction.shape)}; expected one number for each "
            f"of {owners.molecules} molecules or rows: say which by output=, and by atoms= each "
            "atom's molecule"
        )
    tolerance = 1e-9 if prediction.dtype == torch.float64 else 1e-3
    apart = (prediction.detach() - expected).abs().max()
    if not bool(apart <= tolerance * (1.0 + expected.abs().max())):
        raise InputError(
            f"the traced model says something else than the model, by {float(apart):.2g}: it "
            "overwrites part of a tensor through a view, or is not the same twice"
        )
