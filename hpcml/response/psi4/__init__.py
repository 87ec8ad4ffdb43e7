"""Psi4 as an ``engine.Engine``: everything of hpcml that knows Psi4 is in this folder.

    session         Psi4 loaded, its options, scratch files and memory; its own errors renamed
    reference       the converged ground state and its integrals (``engine.GroundState``)
    self_consistent, quadrature, stockholder      parts of it
    surface         gradients and Hessians (``vibrations.PotentialSurface``)
    basis, basis_cache   basis sets: where they come from, and how often they are read
    versions, memory, psi4_errors                 what differs, what it needs, what it says

The module itself is the engine.
"""

from hpcml.response.psi4.reference import ground_state
from hpcml.response.psi4.self_consistent import attempts
from hpcml.response.psi4.session import load_psi4 as prepare
from hpcml.response.psi4.surface import open_surface

__all__ = ["attempts", "ground_state", "open_surface", "prepare"]
