"""Bounds of hyperparameters, so that a wrong one is named before anything is computed."""

from __future__ import annotations

from typing import Annotated

import msgspec

Size = Annotated[int, msgspec.Meta(ge=1, le=65536)]
"""A number of features, layers, or terms."""
Sizes = Annotated[tuple[Size, ...], msgspec.Meta(min_length=1)]
Length = Annotated[float, msgspec.Meta(gt=0, le=1000)]
"""A distance in angstrom."""
AtomicNumber = Annotated[int, msgspec.Meta(ge=1, le=118)]
Elements = Annotated[tuple[AtomicNumber, ...], msgspec.Meta(min_length=1)]
