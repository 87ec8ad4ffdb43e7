"""Work of one molecule, spread over the ranks of a group.

One rank leads: it solves the equations and hands every batch of trial vectors out; the others
serve.  Decisions are taken in one place only, so that no rounding difference between hosts can
part the ranks, and a batch comes back in its own order, whatever the number of ranks.  What fails
on one rank is raised on all.
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
    """``work(products)``, done by rank 0, with the products computed by all ranks.

    All ranks call this with the same products; all get the result, or the exception.
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
    """``work()`` on every rank; if it fails on one, that exception on every rank."""
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
