"""Work of one molecule, spread over the ranks of a group.

Every rank of the group makes every call of this file, in the same order, and every rank gets the
result, or the exception of the rank on which it failed:

    lead        rank 0 runs ``work``; all ranks compute shares of the products that it asks for
    on_root     rank 0 runs ``work``; the others wait
    together    every rank runs ``work`` and keeps its own result

Decisions are taken on rank 0 only, so that no rounding difference between hosts can part the
ranks, and a batch of trials comes back in its own order, whatever the number of ranks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Result = TypeVar("Result")

Product = Callable[[Array], tuple[Array, ...]]
"""(k, N) -> some arrays (k, ...): each row belongs to one trial."""


class Communicator(Protocol):
    """What is used of an mpi4py communicator."""

    @property
    def rank(self) -> int: ...

    @property
    def size(self) -> int: ...

    def bcast(self, obj: Any, root: int = 0) -> Any: ...

    def gather(self, sendobj: Any, root: int = 0) -> list[Any] | None: ...


def lead(
    products: Mapping[str, Product],
    communicator: Communicator | None,
    work: Callable[[Mapping[str, Product]], Result],
) -> Result:
    """``work(products)`` of rank 0, with the products computed by all ranks.

    Parameters
    ----------
    products : mapping of name to Product
        The same on every rank; each computes its rows of a batch with its own.
    communicator : Communicator or None
        None: this process does everything.
    work : callable
        Is called on rank 0 only, with products of the same names that deal every batch out.
    """
    if communicator is None or communicator.size == 1:
        return work(products)
    if communicator.rank > 0:
        while (order := communicator.bcast(None)) is not None:
            name, trials = order
            communicator.gather(_share(products[name], trials, communicator))
        served: Result = _result(communicator.bcast(None))
        return served
    shared = {name: _shared(name, product, communicator) for name, product in products.items()}
    outcome = _outcome(lambda: work(shared))
    communicator.bcast(None)
    result: Result = _result(communicator.bcast(outcome))
    return result


def on_root(communicator: Communicator | None, work: Callable[[], Result]) -> Result:
    """``work()`` on rank 0; its result or its exception on every rank."""
    return lead({}, communicator, lambda _: work())


def together(communicator: Communicator | None, work: Callable[[], Result]) -> Result:
    """Each rank's own ``work()``; if it fails on one, that exception on every rank."""
    if communicator is None or communicator.size == 1:
        return work()
    outcome = _outcome(work)
    failed = isinstance(outcome, Exception)
    failures = [
        failure for failure in communicator.gather(outcome if failed else None) or [] if failure
    ]
    if failure := communicator.bcast(failures[0] if failures else None):
        raise failure
    result: Result = _result(outcome)
    return result


def _shared(name: str, product: Product, communicator: Communicator) -> Product:
    def shared(trials: Array) -> tuple[Array, ...]:
        communicator.bcast((name, trials))
        parts = communicator.gather(_share(product, trials, communicator)) or []
        # ranks beyond the number of trials have nothing to give
        done = [_result(part) for part in parts if part is not None]
        results = []
        for columns in zip(*done, strict=True):
            whole = np.empty((len(trials), *columns[0].shape[1:]))
            for rank, rows in enumerate(columns):
                whole[rank :: communicator.size] = rows
            results.append(whole)
        return tuple(results)

    return shared


def _share(product: Product, trials: Array, communicator: Communicator) -> Any:
    """This rank's rows of a product, or the exception that they raised."""
    mine = trials[communicator.rank :: communicator.size]
    return _outcome(lambda: product(mine)) if len(mine) else None


def _outcome(work: Callable[[], Result]) -> Result | Exception:
    """An exception is an answer too, or the other ranks would wait for ever."""
    try:
        return work()
    except Exception as error:
        return error


def _result(outcome: Any) -> Any:
    if isinstance(outcome, Exception):
        raise outcome
    return outcome
