"""Singular values of weights against what chance alone would give: the random-matrix edge.

A matrix of m x n independent numbers of mean zero and variance s^2 has its singular values
below s (sqrt m + sqrt n), the edge of the Marchenko-Pastur law (V. A. Marchenko, L. A. Pastur,
Math. USSR Sb. 1, 457 (1967)).  The largest of a finite one fluctuates about it as Tracy and Widom
say; centre and width are those of I. M. Johnstone, Ann. Stat. 29, 295 (2001).  Training adds
directions to the first weights; one that is strong enough shows as a singular value of its own
above the edge, one weaker than s (m n)^(1/4) is lost among the others (F. Benaych-Georges,
R. R. Nadakuditi, J. Multivar. Anal. 111, 120 (2012)).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_TRACY_WIDOM_99 = 2.0234  # 99 % of the largest lie below (real matrices; Johnstone 2001, table 1)


def edge(shape: tuple[int, int], deviation: float) -> float:
    """The largest singular value of a random matrix in the limit of large ones.

    Parameters
    ----------
    shape
        Rows and columns.
    deviation
        Standard deviation of an entry.
    """
    rows, columns = shape
    return float(deviation * (np.sqrt(rows) + np.sqrt(columns)))


def limit(shape: tuple[int, int], deviation: float) -> float:
    """What the largest singular value of one random matrix in a hundred exceeds.

    For normal entries; the limit is the same for others of finite fourth moment, and uniform
    ones exceed it more rarely.

    Parameters
    ----------
    shape
        Rows and columns.
    deviation
        Standard deviation of an entry.
    """
    few, many = sorted(shape)
    root = np.sqrt(max(many - 1, 1)), np.sqrt(few)
    width = sum(root) * (1.0 / root[0] + 1.0 / root[1]) ** (1.0 / 3.0)
    return float(deviation * np.sqrt(sum(root) ** 2 + _TRACY_WIDOM_99 * width))


@dataclass(frozen=True)
class Spectrum:
    """Singular values of a layer's weights, trained and first, and the edges they are held against.

    rows, columns   outputs and inputs of the layer
    values          (min(rows, columns),) array, falling
    initial         the same of the first weights
    rms             root of the mean square of the weights
    initial_rms     of the first weights; zero where the layer begins at zero
    """

    rows: int
    columns: int
    values: NDArray[np.float64]
    initial: NDArray[np.float64]
    rms: float
    initial_rms: float

    @property
    def limit(self) -> float:
        """Of weights that are as large as the first ones, and random."""
        return limit((self.rows, self.columns), self.initial_rms)

    @property
    def own_limit(self) -> float:
        """Of weights that are as large as the trained ones, and random.

        What is above is structure; what is above ``limit`` alone may be growth.
        """
        return limit((self.rows, self.columns), self.rms)

    @property
    def begins_at_zero(self) -> bool:
        """No edge can be had of the first weights."""
        return self.initial_rms == 0.0

    def summary(self) -> dict[str, object]:
        """The layer's line in weights.csv; None for what a layer that begins at zero has not."""
        squares = self.values**2
        total = float(squares.sum())
        structure = self.values > self.own_limit
        known = not self.begins_at_zero
        return {
            "outputs": self.rows,
            "inputs": self.columns,
            "rms": self.rms,
            "initial_rms": self.initial_rms,
            "largest": float(self.values[0]),
            "initial_largest": float(self.initial[0]),
            "edge": edge((self.rows, self.columns), self.initial_rms) if known else None,
            "limit": self.limit if known else None,
            "above": int((self.values > self.limit).sum()) if known else None,
            "initial_above": int((self.initial > self.limit).sum()) if known else None,
            "own_limit": self.own_limit,
            "above_own": int(structure.sum()),
            "share_above_own": float(squares[structure].sum()) / total if total else None,
            "stable_rank": total / float(squares[0]) if total else None,
        }


def spectrum(weights: NDArray[np.float64], initial: NDArray[np.float64]) -> Spectrum:
    """The singular values of a layer.

    Parameters
    ----------
    weights, initial : (outputs, inputs) array
        Trained, and the first ones, whose mean square is taken for the initialization's variance.
    """
    rows, columns = weights.shape
    return Spectrum(
        rows=rows,
        columns=columns,
        values=np.linalg.svd(weights, compute_uv=False),
        initial=np.linalg.svd(initial, compute_uv=False),
        rms=_rms(weights),
        initial_rms=_rms(initial),
    )


def input_norms(
    weights: NDArray[np.float64], initial: NDArray[np.float64], names: Sequence[str]
) -> list[dict[str, object]]:
    """How large the weights of each input feature are, by the feature's name.

    Parameters
    ----------
    weights, initial : (outputs, inputs) array
        Trained, and the first ones.
    names
        Of the inputs; those of one name are taken together.

    Returns
    -------
    list of lines
        ``columns`` of the name, ``norm`` over all its weights, ``rms`` of one weight and of one
        first weight, and ``growth``, their ratio (None where the first ones are zero).
    """
    table: list[dict[str, object]] = []
    of_column = np.array(names)
    for name in dict.fromkeys(names):
        chosen = of_column == name
        now, then = _rms(weights[:, chosen]), _rms(initial[:, chosen])
        table.append(
            {
                "feature": name,
                "columns": int(chosen.sum()),
                "norm": float(np.linalg.norm(weights[:, chosen])),
                "rms": now,
                "initial_rms": then,
                "growth": now / then if then else None,
            }
        )
    return table


def _rms(values: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.mean(values**2)))
