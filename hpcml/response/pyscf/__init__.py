"""PySCF as an ``engine.Engine``: everything of hpcml that knows PySCF is in this folder.

    system                  a molecule with its basis set; threads, memory, scratch folder
    basis_text, fitting_sets     basis sets in PySCF's form
    field                   the self-consistent field and its recipes
    ground                  the converged ground state (``engine.GroundState``)
    coulomb_exchange, points, functionals, free_atoms     parts of it
    pyscf_surface           gradients (``vibrations.PotentialSurface``)
    linear_algebra          its OpenBLAS told which processor this is
    gpu                     GPU4PySCF: the same with its SCF on a GPU
    pyscf_errors, pyscf_faults     what it says, and what is wrong with a level

The module itself is the engine.  It is imported where PySCF is installed (``engine.engine``).
"""

import hpcml.response.pyscf.linear_algebra  # noqa: F401  before the others: it loads PySCF
from hpcml.response.pyscf.field import attempts
from hpcml.response.pyscf.ground import ground_state
from hpcml.response.pyscf.pyscf_faults import find_faults
from hpcml.response.pyscf.pyscf_surface import open_surface
from hpcml.response.pyscf.system import prepare

__all__ = ["attempts", "find_faults", "ground_state", "open_surface", "prepare"]
