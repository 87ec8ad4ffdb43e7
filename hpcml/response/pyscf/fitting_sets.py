"""Which functions fit the densities of which basis set.

PySCF's own table names for each orbital set the fitting set that Psi4 takes too, so that both
engines have the same fitted integrals; def2-universal-jkfit, which reaches from hydrogen to radon,
serves every other set, and the elements that a set leaves out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from typing import Any

from pyscf import gto
from pyscf.df.addons import DEFAULT_AUXBASIS
from pyscf.lib.exceptions import BasisNotFoundError

from hpcml.errors import InputError

_UNIVERSAL = "def2-universal-jkfit"


def fitting_sets(basis: str, symbols: Iterable[str]) -> tuple[dict[str, Any], str]:
    """Fitting functions by element, and the name or names of their sets.

    Raises InputError for an element that no set has.
    """
    first = fitting_set_name(basis)
    functions, names = {}, []
    for symbol in sorted(set(symbols)):
        for name in dict.fromkeys((first, _UNIVERSAL)):
            found = _load(name, symbol)
            if found is not None:
                functions[symbol] = found
                names.append(name)
                break
        else:
            raise InputError(
                f"PySCF has no fitting set for {symbol}: compute with exact integrals "
                "(exact = true, --exact)"
            )
    return functions, ", ".join(dict.fromkeys(names))


def fitting_set_name(basis: str) -> str:
    """The set that fits the densities of an orbital set; polarization changes it in no case.

    >>> fitting_set_name("6-31+G(d)"), fitting_set_name("aug-cc-pVTZ")
    ('heavy-aug-cc-pvdz-jkfit', 'aug-cc-pvtz-jkfit')
    >>> fitting_set_name("own.gbs")
    'def2-universal-jkfit'
    """
    name = basis.strip().lower()
    if pople := re.match(r"(6-311?\+*g)", name):
        name = pople.group(1)
    name = re.sub(r"[-_ ]", "", name)
    return str(DEFAULT_AUXBASIS.get(name, (_UNIVERSAL,))[0])


@cache
def _load(name: str, symbol: str) -> Any | None:
    try:
        return gto.basis.load(name, symbol)
    except (BasisNotFoundError, KeyError, RuntimeError):
        return None
