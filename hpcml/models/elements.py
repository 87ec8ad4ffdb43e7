"""Which elements a network knows, said clearly when it meets another."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from hpcml.errors import InputError
from hpcml.molecules.molecule import symbol


def check_numbers(numbers: Tensor, largest: int) -> None:
    """InputError naming the elements beyond atomic number ``largest``.

    Parameters
    ----------
    numbers : (A,) Tensor of int64
        Atomic numbers.
    """
    if numbers.numel() and int(numbers.max()) > largest:
        raise _unknown(numbers[numbers > largest], [f"up to {symbol(largest)}"])


def element_index(numbers: Tensor, elements: Tensor) -> Tensor:
    """Where each atomic number stands in ``elements``: (A,), (S,) -> (A,); else InputError.

    Parameters
    ----------
    numbers : (A,) Tensor of int64
        Atomic numbers.
    elements : (S,) Tensor of int64
        Those known.

    Returns
    -------
    (A,) Tensor of int64
    """
    same = numbers[:, None] == elements
    known = same.any(dim=1)
    if not bool(known.all()):
        raise _unknown(numbers[~known], [symbol(z) for z in elements.tolist()])
    return same.to(elements.dtype).argmax(dim=1)


def _unknown(numbers: Tensor, known: Sequence[str]) -> InputError:
    names = ", ".join(symbol(z) for z in numbers.unique().tolist())
    return InputError(f"the network does not know {names}, only {' '.join(known)}")
