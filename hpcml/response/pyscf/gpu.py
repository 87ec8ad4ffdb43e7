"""GPU4PySCF as an ``engine.Engine``: PySCF's engine with its SCF on an NVIDIA GPU.

By the interface that GPU4PySCF documents: ``to_gpu`` makes of a field of PySCF's one on the GPU,
with members of the same names, and ``to_cpu`` brings it back (https://pyscf.org/user/gpu.html).
What is done on the GPU is the first recipe of the SCF; its fallbacks, fields, gradients and the
response are PySCF's and hpcml's own, on the CPU.

Written against that documentation and stand-ins; not run on a GPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from hpcml.errors import PlatformError
from hpcml.molecules.molecule import Molecule
from hpcml.response.engine import Faults, Resources
from hpcml.response.level import Level
from hpcml.response.pyscf import pyscf_faults
from hpcml.response.pyscf.field import attempts, converge
from hpcml.response.pyscf.ground import PySCFGroundState
from hpcml.response.pyscf.ground import ground_state as on_cpu
from hpcml.response.pyscf.pyscf_surface import open_surface

__all__ = ["attempts", "find_faults", "ground_state", "open_surface", "prepare"]


def prepare() -> None:
    """See ``engine.Engine``.

    Raises
    ------
    PlatformError
        Where GPU4PySCF is not installed or sees no GPU.
    """
    try:
        import cupy
        import gpu4pyscf  # noqa: F401
    except ImportError as error:
        raise PlatformError(
            f"GPU4PySCF cannot be imported ({error}): pip install gpu4pyscf-cuda12x cutensor-cu12 "
            '(or cuda11x, cu11), or take engine = "pyscf"'
        ) from error
    try:
        count = int(cupy.cuda.runtime.getDeviceCount())
    except Exception as error:  # CuPy's errors are those of each CUDA
        raise PlatformError(_no_gpu(str(error).splitlines()[0])) from error
    if count < 1:
        raise PlatformError(_no_gpu("none is visible"))


def _no_gpu(why: str) -> str:
    return (
        f"GPU4PySCF finds no NVIDIA GPU ({why}): run where there is one, as on a site's GPU "
        'partition, or take engine = "pyscf"'
    )


def find_faults(level: Level, elements: tuple[int, ...]) -> Faults:
    """See ``engine.Engine``.

    elements   atomic numbers
    """
    prepare()
    return pyscf_faults.find_faults(level, elements)


@contextmanager
def ground_state(
    molecule: Molecule, level: Level, resources: Resources
) -> Iterator[PySCFGroundState]:
    """See ``engine.Engine``."""
    prepare()
    with on_cpu(molecule, level, resources, solve=_on_gpu) as state:
        state.provenance["scf_on"] = _told()
        yield state


def _on_gpu(field: Any, molecule: Molecule, level: Level, attempt: int) -> Any:
    """The converged field, back on the CPU."""
    if attempt > 0 or _depends(field):  # PySCF's own functions leave dependent ones out
        return converge(field, molecule, level, attempt)
    return converge(field.to_gpu(), molecule, level, attempt).to_cpu()


def _depends(field: Any) -> bool:
    overlap = np.asarray(field.mol.intor("int1e_ovlp"))
    return bool(field.check_linear_dependency(overlap).shape[1] < len(overlap))


def _told() -> str:
    import gpu4pyscf

    return f"GPU, GPU4PySCF {getattr(gpu4pyscf, '__version__', 'of unknown version')}"
