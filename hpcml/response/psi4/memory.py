"""What Psi4 needs of memory: the one place for its numbers.

A rank of a campaign has ``Site.memory_mb`` in all (of which ``cluster.site`` has the least, as
it knows nothing of this room).
"""

from __future__ import annotations

LEAST_MB = 250
"""Psi4's own floor."""

CODE_MB = 300
"""Held by Psi4's code and libraries, beside what it plans with."""

BEYOND_PLAN = 4.0 / 3.0
"""Psi4 comes to hold so many times what it was told to plan with."""

JK_OVER_ESTIMATE = 1.25
"""Density-fitted J and K get so many times what Psi4 estimates for them.

It gives them exactly the estimate and the rest to the grid's cache; at some sizes the estimate is
short by less than a part in a thousand, and the SCF ends with "not enough memory for (p shell) AO
blocking"."""

INTEGRALS_SHARE, KERNEL_SHARE = 0.5, 0.3
"""Of the memory that the SCF's integrals leave, for the response's integrals and for basis
functions on the grid: the rest is for trial vectors and work arrays."""


def calculation_mb(rank_mb: int) -> int:
    """What a calculation may plan with in a rank that may hold ``rank_mb`` in all, in MB."""
    return max(LEAST_MB, int((rank_mb - CODE_MB) / BEYOND_PLAN))
