"""The level of theory of a data set's rows, as their provenance tells it."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from hpcml.store import Dataset

_AT_ONCE = 10_000  # rows, whose provenance is half a kilobyte each


class _Basis(msgspec.Struct):
    """A basis set as hpcml's own rows tell of it, among other things."""

    name: str


class _Level(msgspec.Struct):
    """What a row's provenance says of its level, among other things."""

    method: str = ""
    basis: str | _Basis = ""


def levels(dataset: Dataset) -> list[str]:
    """The level of theory of each row, "B3LYP/6-31G(d)"; "" where it is not told."""
    texts = dataset.texts("provenance")
    found: dict[str, str] = {}
    for text in set(texts):
        told = msgspec.json.decode(text, type=_Level) if text else _Level()
        basis = told.basis if isinstance(told.basis, str) else told.basis.name
        found[text] = "/".join(filter(None, (told.method, basis)))
    return [found[text] for text in texts]


def distinct_levels(dataset: Dataset) -> tuple[str, ...]:
    """The levels that occur, in the order of the rows."""
    found: dict[str, None] = {}
    for start in range(0, len(dataset), _AT_ONCE):
        found |= dict.fromkeys(filter(None, levels(dataset[start : start + _AT_ONCE])))
    return tuple(found)


def joined(several: Iterable[str]) -> str:
    """Several levels in words."""
    return " and ".join(several)
