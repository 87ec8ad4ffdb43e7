"""Which functionals this engine has, and what PySCF calls them."""

from __future__ import annotations

import difflib

from hpcml.errors import SettingsError
from hpcml.response.level import Level
from hpcml.response.pyscf.functional_names import FUNCTIONALS


def check_method(level: Level) -> None:
    """Refuse what is no functional that this engine has.

    Raises
    ------
    SettingsError
    """
    name = level.method.strip().lower()
    if level.is_hartree_fock or name in FUNCTIONALS:
        return
    plain = next((known for known in sorted(FUNCTIONALS, key=len, reverse=True)
                  if name.startswith(f"{known}-d")), "")  # fmt: skip
    if plain:
        raise SettingsError(
            f"method {level.method!r}: dispersion corrections are not done with PySCF; they change "
            f"neither dipole, alpha nor beta: give {plain}"
        )
    near = difflib.get_close_matches(name, FUNCTIONALS, n=3)
    raise SettingsError(
        f"method {level.method!r} is neither HF nor a functional that hpcml has with PySCF"
        + (f"; near: {', '.join(near)}" if near else "")
        + '; Psi4 may have it (engine = "psi4")'
    )


def pyscf_name(level: Level) -> str:
    """What PySCF calls the functional; empty for Hartree-Fock."""
    return "" if level.is_hartree_fock else FUNCTIONALS[level.method.strip().lower()]
