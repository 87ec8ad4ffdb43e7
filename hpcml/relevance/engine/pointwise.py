"""Element-wise functions, and chains of them.

The identity rule holds for a function that is 0 at 0, and how a model writes one is its own
affair: ``softplus(x) - log 2``, ``x * sigmoid(x)`` and ``0.5 * x * (1 + erf(x / sqrt 2))`` are
three calls or five, and one function each.  So the value of an element-wise function remembers
where its chain began (``tape.Curve``), and what follows element-wise joins the chain.  A chain
that is not 0 at 0 is linearized: x f'(x) goes to x, the rest is "taylor".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from hpcml.relevance.engine.calls import Call
from hpcml.relevance.engine.handler import Tracing
from hpcml.relevance.engine.handlers import ratio
from hpcml.relevance.engine.tape import Curve, Shares, Tag, tag_of

_RECTIFIERS = (
    "relu relu6 leaky_relu elu celu selu silu mish gelu prelu hardswish hardtanh threshold"
)
_SHRINKS = "hardshrink softshrink tanhshrink softsign softplus logsigmoid hardsigmoid clip"
_BOUNDED = "sigmoid expit tanh clamp clamp_min clamp_max erf erfc nan_to_num"
_POWERS = "exp exp2 expm1 log log2 log10 log1p sqrt rsqrt reciprocal square pow rpow abs absolute"
_WAVES = "sin cos tan sinh cosh asin acos atan arcsin arccos arctan sinc asinh acosh atanh"
_STEPS = "sign sgn floor ceil round trunc neg negative"
ELEMENT_WISE = frozenset(f"{_RECTIFIERS} {_SHRINKS} {_BOUNDED} {_POWERS} {_WAVES} {_STEPS}".split())
_NATURES = {"sigmoid": "gate", "expit": "gate", "hardsigmoid": "gate", "exp": "exponential"}


def unary(trace: Tracing, call: Call) -> Tensor:
    """An element-wise function of one signal.

    Returns
    -------
    (rows, ...) Tensor
        On the tape.
    """
    (signal,) = call.signals
    curve = call.tags[0].curve
    if call.name == "exp" and call.tags[0].shifted is not None:  # by the largest, in a softmax
        curve = call.tags[0].shifted
    start = _Branch.on(signal, curve)
    return _joined(trace, call, [start], _NATURES.get(call.name, ""))


def binary(trace: Tracing, call: Call) -> Tensor | None:
    """A sum, product or quotient that stays within one chain; None of any other.

    Returns
    -------
    (rows, ...) Tensor, or None
        On the tape.
    """
    curves = [tag.curve for tag in call.tags if tag.curve is not None]
    squared = len(call.signals) == 1 and [id(t) for t in call.args[:2]].count(id(call.args[0])) == 2
    scaled = len(call.signals) == 1 and (
        call.name in ("mul", "multiply")
        or (call.name in ("div", "divide", "true_divide") and call.args[0] is call.signals[0])
    )
    if not curves and not squared and not scaled:
        return None
    origin = curves[0].origin if curves else call.signals[0]
    if not all(signal is origin or _origin(signal) is origin for signal in call.signals):
        return None
    others = [t for t in call.tensors if tag_of(t) is None]
    if torch.broadcast_shapes(*(t.shape for t in [origin, *others])) != origin.shape:
        return None
    kept = {"gate", "exponential"} if call.name in ("mul", "multiply") else {"gate"}
    nature = call.tags[0].nature if len(call.signals) == 1 and not squared else ""
    branches = [_Branch.of(signal, origin) for signal in call.signals]
    return _joined(trace, call, branches, nature if nature in kept else "")


def shift(call: Call, outputs: Tensor) -> Curve | None:
    """A signal and a constant added to it, as a curve; None of anything else.

    Parameters
    ----------
    outputs : (rows, ...) Tensor
        The sum.
    """
    if len(call.signals) != 1 or call.signals[0].shape != outputs.shape:
        return None
    start = call.signals[0].detach()
    with torch.no_grad():
        at_zero: Tensor = call.on(torch.zeros_like(start))
    return Curve(call.signals[0], at_zero, lambda: torch.ones_like(at_zero))


def _origin(signal: Tensor) -> Tensor | None:
    tag = tag_of(signal)
    return None if tag is None or tag.curve is None else tag.curve.origin


class _Branch:
    """A signal as a function of the chain's origin."""

    def __init__(self, signal: Tensor, origin: Tensor, at_zero: Tensor, slope: Any) -> None:
        self.signal, self.origin, self.at_zero, self.slope = signal, origin, at_zero, slope

    @classmethod
    def of(cls, signal: Tensor, origin: Tensor) -> _Branch:
        """The branch of a signal of this chain."""
        tag = tag_of(signal)
        return cls.on(signal, None if signal is origin or tag is None else tag.curve)

    @classmethod
    def on(cls, signal: Tensor, curve: Curve | None) -> _Branch:
        """The branch of a signal that is on this curve, or where one begins."""
        if curve is None:
            zero = signal.detach().new_zeros(())
            return cls(signal, signal, zero, lambda: torch.ones_like(zero))
        return cls(signal, curve.origin, curve.at_zero, curve.slope)


def _joined(trace: Tracing, call: Call, branches: list[_Branch], nature: str) -> Tensor:
    fixed = [branch.signal.detach() for branch in branches]
    origin = branches[0].origin
    with torch.no_grad():
        outputs: Tensor = call.on(*fixed)
        alone = len(call.tensors) == len(branches)  # no weights for each channel
        zeros = [
            b.at_zero if alone else b.at_zero.expand(b.signal.shape).contiguous() for b in branches
        ]
        at_zero: Tensor = call.on(*zeros)

    def slope() -> Tensor:
        with torch.enable_grad():
            leaves = [one.detach().requires_grad_() for one in fixed]
            slopes = torch.autograd.grad(call.on(*leaves).sum(), leaves, allow_unused=True)
        parts = [s * b.slope() for s, b in zip(slopes, branches, strict=True) if s is not None]
        return sum(parts, torch.zeros_like(fixed[0]))

    tag = Tag(call.owners[0], call.depth, curve=Curve(origin, at_zero, slope), nature=nature)
    start = origin.detach()
    if vanishes(at_zero):
        return trace.step(call.where, outputs, lambda relevance: Shares([relevance]), [origin], tag)
    return trace.step(call.where, outputs, _linearized(trace, outputs, start, slope), [origin], tag)


def vanishes(at_zero: Tensor) -> bool:
    """Whether a function's value at 0 is 0 to rounding.

    Parameters
    ----------
    at_zero : () Tensor, or the shape of the function's argument
    """
    return bool((at_zero.abs() <= 64 * torch.finfo(at_zero.dtype).eps).all())


def _linearized(
    trace: Tracing, outputs: Tensor, start: Tensor, slope: Callable[[], Tensor]
) -> Callable[[Tensor], Shares]:
    def share(relevance: Tensor) -> Shares:
        steps = (start * slope()).nan_to_num_(0.0, 0.0, 0.0)
        ledger: dict[str, Tensor] = {}
        per_unit = ratio(trace, relevance, outputs, ledger)
        ledger["taylor"] = per_unit * (outputs - steps)
        return Shares([per_unit * steps], ledger)

    return share
