"""Psi4 as an ``engine.Engine``: everything of hpcml that knows Psi4 is in this folder.

    session         Psi4 loaded, its options, scratch files and memory; its own errors renamed
    reference       the converged ground state and its integrals (``engine.GroundState``)
    self_consistent, quadrature, stockholder      parts of it
    surface         gradients and Hessians (``vibrations.PotentialSurface``)
    basis_cache     basis sets read once
    versions, memory, psi4_errors, psi4_faults    what differs, what it needs, what it says

The module itself is the engine.
"""

from hpcml.response.psi4.psi4_faults import find_faults
from hpcml.response.psi4.reference import ground_state
from hpcml.response.psi4.self_consistent import attempts
from hpcml.response.psi4.session import load_psi4 as prepare
from hpcml.response.psi4.surface import open_surface

__all__ = ["attempts", "find_faults", "ground_state", "open_surface", "prepare"]
