"""Which functionals this engine has, and what PySCF calls them."""

from __future__ import annotations

import difflib
import re

from hpcml.errors import SettingsError
from hpcml.response import refusals
from hpcml.response.level import Level
from hpcml.response.pyscf.functional_names import FUNCTIONALS

_DOUBLE_HYBRID = re.compile(r"(core-)?(b2(gp)?plyp|dsd-?|pbe0-?(2|dh)$|pwpb95|mpw2plyp|xyg3)")
_NON_LOCAL = re.compile(r".*(vv10|-nl)$|w?b97[xm]{0,2}-?v$|scan-?vv10|r?vv10")
"""By their names, as Psi4 has them and others write them."""


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
    for names, why in (
        (_DOUBLE_HYBRID, refusals.DOUBLE_HYBRID),
        (_NON_LOCAL, refusals.NON_LOCAL),
    ):
        if names.match(name):
            raise SettingsError(f"method {level.method!r} {why}")
    near = difflib.get_close_matches(name, FUNCTIONALS, n=3)
    raise SettingsError(
        f"method {level.method!r} is neither HF nor a functional that hpcml has with PySCF"
        + (f"; near: {', '.join(near)}" if near else "")
        + '; Psi4 may have it (engine = "psi4")'
    )


def pyscf_name(level: Level) -> str:
    """What PySCF calls the functional; empty for Hartree-Fock."""
    return "" if level.is_hartree_fock else FUNCTIONALS[level.method.strip().lower()]
