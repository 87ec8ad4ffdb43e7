"""Coulomb and exchange matrices of any densities by PySCF, and fitted integrals over orbitals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyscf import lib, scf

from hpcml.response.engine import Resources
from hpcml.response.fock import Orbitals
from hpcml.response.level import Level
from hpcml.response.two_electron import FittedChannel, FittedIntegrals

Array = NDArray[np.float64]

_TRIALS_PER_EQUATION = 8
_INTEGRALS_SHARE = 0.5  # of the memory: the rest is for the grid, for vectors and work arrays


@dataclass(frozen=True, eq=False)
class CoulombExchange:
    """The two-electron integrals of a solved field, with its functional's exact exchange.

    everywhere    share of K at all ranges
    long_range    what is added of the K of erf(omega r) / r
    """

    solved: Any
    fitted: bool
    everywhere: float
    long_range: float
    omega: float
    bytes: float
    _long_range_integrals: list[Array] = field(default_factory=list)  # once made

    @classmethod
    def of(cls, solved: Any, level: Level, resources: Resources) -> CoulombExchange:
        """Those of PySCF's field."""
        everywhere, long_range, omega = 1.0, 0.0, 0.0
        if not level.is_hartree_fock:
            omega, long, short = solved._numint.rsh_and_hybrid_coeff(solved.xc, spin=0)
            everywhere, long_range = (short, long - short) if omega else (short, 0.0)
        memory = _INTEGRALS_SHARE * resources.memory_mb * 1e6
        return cls(solved, not level.exact, everywhere, long_range, omega, memory)

    @property
    def has_exchange(self) -> bool:
        return bool(self.everywhere or self.long_range)

    def matrices(self, densities: Array) -> tuple[list[Array], list[Array] | None]:
        """J and the functional's share of K.

        Parameters
        ----------
        densities : (k, n, n) array

        Returns
        -------
        coulomb, exchange : lists of (n, n) arrays
            As ``engine.GroundState.matrices``.
        """
        mole = self.solved.mol
        coulomb, whole = self.solved.get_jk(mole, densities, hermi=0, with_k=self.everywhere != 0.0)
        if not self.has_exchange:
            return list(coulomb), None
        exchange = np.zeros_like(densities)
        if self.everywhere:
            exchange += self.everywhere * np.asarray(whole)
        if self.long_range:
            exchange += self.long_range * self._of_long_range(densities)
        return list(coulomb), list(exchange)

    def _of_long_range(self, densities: Array) -> Array:
        """K of erf(omega r) / r; exact integrals are kept where memory allows."""
        mole = self.solved.mol
        if self.fitted or mole.nao**4 > self.bytes:  # an eighth of n^4 numbers of 8 bytes
            return np.asarray(self.solved.get_k(mole, densities, hermi=0, omega=self.omega))
        if not self._long_range_integrals:
            with mole.with_range_coulomb(self.omega):
                self._long_range_integrals.append(mole.intor("int2e", aosym="s8"))
        (integrals,) = self._long_range_integrals
        return np.asarray(scf.hf.dot_eri_dm(integrals, densities, hermi=0, with_j=False)[1])

    def over_orbitals(
        self, channels: Sequence[Orbitals], right_sides: int
    ) -> FittedIntegrals | None:
        """Fitted integrals over molecular orbitals; None where there are none or they do not fit.

        Parameters
        ----------
        channels : sequence of Orbitals
        right_sides : int
            Number of response equations that will be solved with them.
        """
        if not self.fitted or self.long_range:
            return None
        fitting = self.solved.with_df.get_naoaux()
        shapes = [channel.shape for channel in channels]
        held = sum(fitting * (o + v) ** 2 for o, v in shapes)
        available = self.bytes / 8.0
        if held > available:
            return None
        exchange = 2.0 * sum((o * v) ** 2 for o, v in shapes)
        few = max(o for o, _ in shapes) < _TRIALS_PER_EQUATION * right_sides * 2
        return FittedIntegrals(
            [fitted_channel(self.solved.with_df, channel) for channel in channels],
            self.everywhere,
            store_exchange=few and held + exchange < available,
        )


def fitted_channel(fitted: Any, channel: Orbitals) -> FittedChannel:
    """PySCF's fitted integrals (its ``with_df``) over the orbitals of a channel.

    Parameters
    ----------
    channel : Orbitals
        Those called virtual may be any.
    """
    (o, v), fitting = channel.shape, fitted.get_naoaux()
    found = FittedChannel(*(np.empty((fitting, *s)) for s in ((o, v), (o, o), (v, v))))
    start = 0
    for packed in fitted.loop():
        part = slice(start, start + len(packed))
        integrals = lib.unpack_tril(packed)
        half = integrals @ channel.virtual
        found.virtual[part] = channel.virtual.T @ half
        found.occupied_virtual[part] = channel.occupied.T @ half
        found.occupied[part] = channel.occupied.T @ (integrals @ channel.occupied)
        start = part.stop
    return found
