"""Relevance through the torch functions that a model calls.

Every function of torch that meets a signal while a trace is open comes by here, whoever wrote
the model: in its own forward, in a layer of a library, in a helper of one.  It is a move
(``moves``), an element-wise function (``pointwise``), a sum, product, norm, softmax or maximum
(``several_signals``), an affine layer, or a composition of those.  What is none of them makes
no signal, as a shape or a comparison does, or is an error that names it and its line in the
model: its plain gradient would pass for a relevance without being one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

import torch
from torch import Tensor
from torch.nn import functional

from hpcml.errors import InputError
from hpcml.relevance.engine import affine_handlers, several_signals
from hpcml.relevance.engine.calls import (
    Call,
    calling_line,
    current,
    exchanged,
    name_of,
    tensors_in,
)
from hpcml.relevance.engine.compositions import COMPOSITIONS
from hpcml.relevance.engine.handler import Tracing
from hpcml.relevance.engine.moves import MOVES, move
from hpcml.relevance.engine.pointwise import ELEMENT_WISE, binary, shift, unary
from hpcml.relevance.engine.several_signals import owner_of_cells, shared
from hpcml.relevance.engine.tape import Tag, tag_of


def interpret(trace: Tracing, function: Any, args: Any, kwargs: Any) -> Any:
    """Call ``function`` so that relevance can follow; InputError where it cannot."""
    before = tensors_in((*args, *kwargs.values()))
    if not before:
        return function(*args, **kwargs)
    given = {key: value for key, value in kwargs.items() if key != "out" or value is not None}
    args, kwargs = exchanged(tuple(args), current), exchanged(given, current)
    call = Call(name_of(function), function, args, kwargs)
    if call.name == "embedding" and not call.signals:
        return trace.looked_up(call)
    if not call.signals or not torch.is_grad_enabled():
        return _of_constants(trace, call)
    call, overwrites = call.keeping()
    result = rule_of(trace, call)
    if overwrites and isinstance(result, Tensor):
        trace.overwrite(args[0], result)
    return result


def _of_constants(trace: Tracing, call: Call) -> Any:
    hidden = [one for one in call.tensors if one.requires_grad and tag_of(one) is None]
    if not hidden:
        return call()
    if any(not one.is_leaf for one in hidden):
        _hidden(call)
    with torch.no_grad():  # a leaf that the model made itself, to differentiate by it
        return call()


def rule_of(trace: Tracing, call: Call) -> Any:
    """The result of a call that meets a signal, on the tape."""
    if any(one.requires_grad and tag_of(one) is None and not one.is_leaf for one in call.tensors):
        _hidden(call)
    call = Call(call.name, call.function, call.args, call.kwargs, trace.calling(call.name))
    if call.name in COMPOSITIONS:
        with trace.traced():
            return _composed(trace, call)
    with trace.untraced():
        if call.name in MOVES:
            return move(trace, call)
        if call.name in ELEMENT_WISE and len(call.signals) == 1:
            return unary(trace, call)
        rule = _RULES.get(call.name)
        if rule is not None:
            made = rule(trace, call)
            if made is not None:
                return made
        result = call()
    if not any(tensor.requires_grad for tensor in tensors_in((result,))):
        return result  # a shape, a comparison, an index: no signal
    return _refuse(trace, call)


def _composed(trace: Tracing, call: Call) -> Any:
    try:
        return COMPOSITIONS[call.name](*call.args, **call.kwargs)
    except NotImplementedError:
        return _refuse(trace, call)


def _refuse(trace: Tracing, call: Call) -> NoReturn:
    raise InputError(
        f"torch function {call.name!r} ({calling_line()}) is applied to a signal {trace.inside()}, "
        "and there is no relevance rule for it: use another function, or make what calls it a "
        "module and declare what that means: hpcml.relevance.declare(ITS_TYPE, meaning), where "
        "meaning is 'passing' for an element-wise function that is 0 at 0, 'linearized' for one "
        "that is not, 'structural' for one that only moves numbers, or the known layer type it "
        "equals"
    )


def _hidden(call: Call) -> NoReturn:
    raise InputError(
        f"torch function {call.name!r} ({calling_line()}) gets a tensor made by an operation that "
        "cannot be seen from here, such as TorchScript, an autograd.Function or an extension in "
        "C++, which relevance cannot follow: PYTORCH_JIT=0 in the environment switches TorchScript "
        "off; the model's own settings the others"
    )


# ------------------------------------------------------------------------- arithmetic


def _add(trace: Tracing, call: Call) -> Tensor:
    chained = binary(trace, call)
    if chained is not None:
        return chained
    alpha = call.kwargs.get("alpha", 1)
    if call.name == "add" and alpha == 1 and len(call.signals) == 2:
        with torch.no_grad():
            outputs = call.on(*(signal.detach() for signal in call.signals))
        merged = affine_handlers.one_affine(trace, call.where, call.signals, outputs)
        if merged is not None:
            return merged
    return _cells(trace, call)


def _cells(trace: Tracing, call: Call, degree: int = 1) -> Tensor:
    """Linear in each signal, cell by cell."""
    with torch.no_grad():
        outputs = call.on(*(signal.detach() for signal in call.signals))
    owner, shifted = owner_of_cells(call, outputs.shape), None
    if call.name in ("add", "sub", "subtract"):
        shifted = shift(call, outputs)
    tag = Tag(owner, call.depth, shifted=shifted, nature=_gate_still(call))
    rest = "bias" if degree == 1 else ""
    return shared(trace, call.where, call.on, call.signals, tag, degree=degree, rest=rest)


def _gate_still(call: Call) -> str:
    natures = {tag.nature for tag in call.tags}
    return "gate" if natures == {"gate"} else ""


def _multiply(trace: Tracing, call: Call) -> Tensor:
    chained = binary(trace, call)
    if chained is not None:
        return chained
    if len(call.signals) == 2 and trace.composite.products == "weight":
        gates = [tag.nature == "gate" for tag in call.tags]
        if gates[0] != gates[1]:
            taker = call.signals[gates.index(False)]
            owner = owner_of_cells(call, torch.broadcast_shapes(*(s.shape for s in call.signals)))
            fixed = {id(s): s.detach() for s in call.signals if s is not taker}

            def of_taker(value: Tensor) -> Tensor:
                pairs = {**fixed, id(taker): value}
                made: Tensor = call.with_tensors(lambda t: pairs.get(id(t), t))
                return made

            return shared(trace, call.where, of_taker, [taker], Tag(owner, call.depth), rest="")
    return _cells(trace, call, several_signals.times(call))


def _divide(trace: Tracing, call: Call) -> Tensor | None:
    """A signal that divides is a weight; of exponentials it is a softmax's sum."""
    chained = binary(trace, call)
    if chained is not None:
        return chained
    above, below = call.args[0], call.args[1]
    if not isinstance(below, Tensor) or tag_of(below) is None:
        return _cells(trace, call)
    tag = tag_of(above) if isinstance(above, Tensor) else None
    if tag is None:  # one over a signal: element-wise
        inverse = unary(trace, call.other(torch.reciprocal, below))
        made: Tensor = rule_of(trace, call.other(torch.mul, inverse, above))
        return made
    owner = owner_of_cells(call, torch.broadcast_shapes(above.shape, below.shape))
    if tag.nature == "exponential":
        share = Tag(owner, call.depth, nature="gate")
        return shared(trace, call.where, call.on, call.signals, share, rest="taylor")
    fixed, name = below.detach(), call.where
    return shared(
        trace, name, lambda value: value / fixed, [above], Tag(owner, call.depth), rest=""
    )


def _divided(trace: Tracing, call: Call) -> Tensor | None:
    return _divide(trace, call.other(torch.div, call.args[1], call.args[0]))


def _power(trace: Tracing, call: Call) -> Tensor | None:
    return unary(trace, call) if len(call.signals) == 1 else None


def _product(trace: Tracing, call: Call) -> Tensor:
    """Matrix products and their like; with a matrix of constants an affine layer."""
    if call.name in ("matmul", "mm") and len(call.signals) == 1:
        left, right = call.args
        if left is call.signals[0] and right is not left and right.dim() == 2:
            return _linear(trace, call.other(functional.linear, left, right.t()))
    owner = several_signals.owner_of_sums(call, trace.owners.atoms)
    degree = several_signals.times(call)
    rest = "bias" if degree == 1 else ""
    tag = Tag(owner, call.depth)
    return shared(trace, call.where, call.on, call.signals, tag, degree=degree, rest=rest)


def _linear(trace: Tracing, call: Call) -> Tensor:
    values, weight = call.argument(0, "input"), call.argument(1, "weight")
    bias = call.argument(2, "bias")
    if len(call.signals) == 1 and call.signals[0] is values and values.dim() > 1:
        return affine_handlers.affine_map(trace, call.where, values, weight, bias)
    product = call.other(torch.matmul, values, weight.transpose(-1, -2))
    made: Tensor = rule_of(trace, product)
    if bias is not None:
        made = rule_of(trace, call.other(torch.add, made, bias))
    return made


def _batch_norm(trace: Tracing, call: Call) -> Tensor | None:
    """By running statistics it is affine, channel by channel; by the batch's it mixes molecules."""
    if call.argument(5, "training", False) or len(call.signals) > 1:
        return None
    return shared(trace, call.where, call.on, call.signals, Tag(call.owners[0], call.depth))


def _dropout(trace: Tracing, call: Call) -> Tensor | None:
    """Nothing, outside training."""
    works = call.argument(2, "training", True) and call.argument(1, "p", 0.5)
    return None if works else call.signals[0]


def _winner_of_two(trace: Tracing, call: Call) -> Any:
    """The larger or lesser of two tensors takes all, equal ones half each: as its gradient does."""
    other = call.argument(1, "other")
    if not isinstance(other, Tensor):
        return several_signals.largest(trace, call)
    with torch.no_grad():
        shape = call().shape
    tag = Tag(owner_of_cells(call, shape), call.depth)
    return shared(trace, call.where, call.on, call.signals, tag, rest="taylor")


_Rule = Callable[[Tracing, Call], Any]
_SUMS = "cumsum diff trapezoid lerp index_put put avg_pool1d avg_pool2d adaptive_avg_pool1d trace"
_RULES: dict[str, _Rule] = {
    **dict.fromkeys(("add", "sub", "subtract", "rsub"), _add),
    **dict.fromkeys(("mul", "multiply", "rmul"), _multiply),
    **dict.fromkeys(("div", "divide", "true_divide", "truediv"), _divide),
    **dict.fromkeys(("rdiv", "rtruediv"), _divided),
    **dict.fromkeys(_SUMS.split(), several_signals.linear_sum),
    **dict.fromkeys(("conv1d", "conv2d", "segment_reduce"), several_signals.linear_sum),
    **dict.fromkeys(("sum", "mean", "nansum"), several_signals.along_axes),
    **dict.fromkeys(("norm", "vector_norm", "linalg_norm"), several_signals.length),
    **dict.fromkeys(("linalg_vector_norm", "frobenius_norm"), several_signals.length),
    **dict.fromkeys(("softmax", "log_softmax"), several_signals.softmax),
    "logsumexp": several_signals.log_of_sum,
    **dict.fromkeys(("max", "min", "maximum", "minimum"), _winner_of_two),
    **dict.fromkeys(("amax", "amin"), several_signals.largest),
    **dict.fromkeys(("index_add", "scatter_add", "scatter_reduce"), several_signals.fallen),
    "index_reduce": several_signals.fallen,
    **dict.fromkeys(("matmul", "mm", "bmm", "mv", "dot", "vdot", "inner"), _product),
    **dict.fromkeys(("einsum", "outer", "ger", "tensordot", "bilinear", "cross"), _product),
    **dict.fromkeys(("linalg_cross", "linalg_vecdot", "rmatmul", "kron", "vecdot"), _product),
    "linear": _linear,
    "batch_norm": _batch_norm,
    **dict.fromkeys(("dropout", "alpha_dropout", "feature_dropout", "dropout1d"), _dropout),
}
