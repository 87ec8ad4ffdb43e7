"""What takes relevance beside the inputs, and what a reader can ask of such an account.

A prediction is taken apart into relevances of inputs and terms of the ledger, and nothing else:

    prediction = sum of relevances + sum of ledger terms (+ closure, which is rounding)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

Array = TypeVar("Array", NDArray[np.float64], "Tensor")

LEDGER = ("bias", "epsilon", "taylor", "mean", "reference")
"""Terms of the ledger, in the order of its columns:

bias        biases of affine layers, shifts of batch normalization, constants added
epsilon     what the stabilizer of the rules absorbed
taylor      what a first-order step about a root, or the linearization of a layer, leaves; for a
            comparator that does not conserve, what it leaves unexplained
mean        the target's mean, put back by the scaling
reference   the atoms' reference energies
"""
OFFSETS = ("mean", "reference")
"""Terms that no network had a hand in: they are fitted to the target before it is trained."""
MOSTLY_CANCELLATION = 10.0
"""From this ratio on nine tenths of what an explanation hands out cancel."""


def closure(prediction: Array, explained: Array, ledger: Array) -> Array:
    """What the account leaves open; zero to rounding.

    Parameters
    ----------
    prediction : (M,) array or Tensor
        Predictions, target's unit.
    explained : (M,) array or Tensor
        Sum of the relevances of each molecule's inputs, target's unit.
    ledger : (M, K) array or Tensor
        The K terms of the ledger, target's unit.

    Returns
    -------
    (M,) array or Tensor
        prediction - explained - sum of the terms, target's unit.
    """
    left: Array = prediction - explained - ledger.sum(1)
    return left


def relative_closure(
    prediction: NDArray[np.float64], explained: NDArray[np.float64], ledger: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The size of ``closure`` as a share of max(1, |prediction|): the divisor used everywhere.

    Parameters
    ----------
    prediction : (M,) array
    explained : (M,) array
    ledger : (M, K) array
        As for ``closure``.

    Returns
    -------
    (M,) array
        Without unit; NaN for a molecule that could not be explained.
    """
    gap = np.abs(closure(prediction, explained, ledger))
    share: NDArray[np.float64] = gap / np.maximum(1.0, np.abs(prediction))
    return share


def cancellation(
    atoms: NDArray[np.float64], ledger: NDArray[np.float64], offsets: NDArray[np.int64]
) -> NDArray[np.float64]:
    """How much larger the parts of an explanation are than what they add up to.

    sum of |parts| / |sum of parts| of what the network itself says of a molecule: the parts are
    the atoms' relevances and the molecule's ledger, less its ``OFFSETS``.  1 where all parts
    have one sign.  At ``MOSTLY_CANCELLATION`` and beyond a colour on an atom tells more of the
    rule than of the molecule.

    Parameters
    ----------
    atoms : (A,) array
        Relevances of the atoms of all molecules, end to end, target's unit.
    ledger : (M, K) array
        The K terms of the ledger, target's unit.
    offsets : (M + 1,) integer array
        Molecule m has the atoms offsets[m] to offsets[m + 1].

    Returns
    -------
    (M,) array
        Without unit, at least 1; infinite where parts add up to zero, NaN for a molecule that
        could not be explained or has no parts.
    """
    molecule = np.repeat(np.arange(len(ledger)), np.diff(offsets))
    said = [number for number, term in enumerate(LEDGER) if term not in OFFSETS]

    def of_atoms(values: NDArray[np.float64]) -> NDArray[np.float64]:
        sums: NDArray[np.float64] = np.zeros(len(ledger))
        np.add.at(sums, molecule, values)
        return sums

    parts = of_atoms(np.abs(atoms)) + np.abs(ledger[:, said]).sum(axis=1)
    total = np.abs(of_atoms(atoms) + ledger[:, said].sum(axis=1))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio: NDArray[np.float64] = np.maximum(parts / total, 1.0)
    return ratio
