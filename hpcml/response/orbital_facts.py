"""What the orbitals of an SCF say by themselves: for the provenance and its warnings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hpcml.response.fock import Orbitals

Array = NDArray[np.float64]


def orbital_facts(channels: Sequence[Orbitals], overlap: Array) -> dict[str, float]:
    """Frontier orbital energies in hartree, over both spins, and <S^2> of an open shell.

    Parameters
    ----------
    channels : sequence of Orbitals
    overlap : (n, n) array
        Of the basis functions.
    """
    facts = {}
    filled = [channel.occupied_energies for channel in channels if channel.shape[0]]
    empty = [channel.virtual_energies for channel in channels if channel.shape[1]]
    facts["homo"] = float(max(energies.max() for energies in filled))
    if empty:
        facts["lumo"] = float(min(energies.min() for energies in empty))
    if len(channels) > 1:
        alpha, beta = (channel.occupied for channel in channels)
        spin = 0.5 * (alpha.shape[1] - beta.shape[1])
        shared = alpha.T @ overlap @ beta
        facts["spin_squared"] = float(spin * (spin + 1) + beta.shape[1] - np.sum(shared**2))
    return facts


def left_out(functions: int, orbitals: int) -> list[str]:
    """A warning where linear dependence leaves fewer orbitals than basis functions."""
    if orbitals >= functions:
        return []
    return [
        f"{functions - orbitals} of {functions} basis functions are linearly dependent and were "
        "left out"
    ]
