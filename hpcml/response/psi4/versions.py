"""Where versions of Psi4 differ, each difference in one function (1.3.2 to 1.10).

Run with 1.3.2 (Debian).  What later versions do was read in their sources: docs/response.md.
"""

from __future__ import annotations

import re
from typing import Any

from hpcml.response.psi4.memory import JK_OVER_ESTIMATE

_ACCELERATOR = "SCF_INITIAL_ACCELERATOR"  # since 1.6; ADIIS by default
_DEEPEST_CORE_RIGHT = 71  # lutetium: heavier elements have cores of 60 electrons


def reset_diis(wavefunction: Any) -> None:
    """Forget the Fock matrices that DIIS extrapolates from.

    ``diis_manager`` is a method up to 1.4 and the attribute ``diis_manager_`` since 1.5.
    """
    if not wavefunction.initialized_diis_manager_:
        return
    if hasattr(wavefunction, "diis_manager_"):
        wavefunction.diis_manager_.reset_subspace()
    else:
        wavefunction.diis_manager().reset_subspace()


def forget_iterations(wavefunction: Any) -> None:
    """``iteration_energies`` (since 1.5) is a list of the class, which would grow for ever."""
    if hasattr(wavefunction, "iteration_energies"):
        wavefunction.iteration_energies = []


def accelerator(core: Any) -> dict[str, str]:
    """Options by which every version begins its SCF with DIIS, as 1.3.2 does.

    Since 1.6 ADIIS begins, which can lead open shells to other states.
    """
    return {_ACCELERATOR: "NONE"} if core.option_exists_in_module("SCF", _ACCELERATOR) else {}


def give_jk_more_than_it_estimates(core: Any) -> None:
    """See ``memory.JK_OVER_ESTIMATE``; no version has mended it."""
    estimate = core.JK.memory_estimate
    core.JK.memory_estimate = lambda jk: int(JK_OVER_ESTIMATE * estimate(jk))


def fitted_integrals_held(jk: Any, *, long_range: bool) -> float:
    """Bytes of fitted integrals that J and K hold in memory.

    DFHelper of 1.3.2 does no long-range exchange; later versions (MemDFJK) hold three tensors for
    it: (Q|mn) fitted, (Q|mn) not fitted, and the long-range one.
    """
    if not hasattr(jk, "dfh"):
        return 0.0
    return 8.0 * float(jk.dfh().get_AO_size()) * (3.0 if long_range else 1.0)


def is_undefined_functional(error: RuntimeError) -> bool:
    """Whether LibXC has no derivative at a point: later versions raise, 1.3.2 gives NaN."""
    return re.search(r"\bnan\b", str(error), re.IGNORECASE) is not None


def core_potential_warnings(version: str, elements: dict[str, int]) -> list[str]:
    """What is known to be wrong with this version's integrals of effective core potentials.

    Parameters
    ----------
    version : str
        Psi4's.
    elements : dict
        Symbol -> atomic number of the elements whose core is a potential.
    """
    deep = sorted(name for name, number in elements.items() if number > _DEEPEST_CORE_RIGHT)
    if not deep or not version.startswith("1.3"):
        return []
    return [
        f"Psi4 {version}'s integrals of deep effective core potentials ({', '.join(deep)}) are "
        "inexact: energies by up to 1e-3 hartree, polarizabilities by some 1e-2 (HgH2)"
    ]
