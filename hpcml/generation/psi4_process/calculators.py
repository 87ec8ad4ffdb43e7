"""What a Psi4 process runs for a molecule.

``psi4`` is the physics.  ``none`` computes nothing and returns zeros in the right shapes: it
measures what everything around the physics costs (the benchmarks use it).  ``wait`` does so after
as many seconds as the molecule's name says (``wait 0.5``): it takes no core, so that machinery can
be measured on more ranks than there are cores.  A Python caller may name
its own function as ``module:function``.
"""

from __future__ import annotations

import contextlib
import importlib
import time
from collections.abc import Callable

import numpy as np

from hpcml.errors import InputError, PlatformError, SettingsError
from hpcml.molecules import Molecule
from hpcml.response import (
    Hyperpolarizability,
    Level,
    Polarizability,
    Request,
    ResponseProperties,
)
from hpcml.response.compute import compute_with
from hpcml.response.engine import Resources, engine
from hpcml.response.level import SHARES

_SHARE_OF = {"alpha": "alpha_iso", "beta": "beta_parallel", "zpve": "zpve"}

Calculator = Callable[[Molecule, Level, Request, Resources], ResponseProperties]


def psi4(
    molecule: Molecule, level: Level, request: Request, resources: Resources
) -> ResponseProperties:
    """The response properties, by the engine that the level names."""
    return compute_with(molecule, level, request, resources)


def none(
    molecule: Molecule, level: Level, request: Request, resources: Resources
) -> ResponseProperties:
    """Zeros in the shapes of the request; the provenance says so."""
    wanted = set(request.properties)
    dynamic = request.polarizability_frequencies if "alpha" in wanted else ()
    atoms = len(molecule)
    shared = [
        f"{_SHARE_OF[name]}{end}"
        for word, end in SHARES.items()
        for name in _SHARE_OF
        if {name, word} <= wanted and (name, word) != ("zpve", "shares_loewdin")
    ]
    return ResponseProperties(
        energy=0.0,
        dipole=np.zeros(3),
        polarizability=[Polarizability(w, np.zeros((3, 3))) for w in dynamic],
        hyperpolarizability=[
            Hyperpolarizability(process, frequencies, np.zeros((3, 3, 3)))
            for process, frequencies in request.hyperpolarizabilities
        ],
        zpve=0.0 if "zpve" in wanted else None,
        vibrational_frequencies=np.zeros(max(0, 3 * atoms - 6)) if "zpve" in wanted else None,
        shares={share: np.zeros(atoms) for share in shared},
        provenance={"program": "none", "method": level.method, "basis": level.basis},
    )


def wait(
    molecule: Molecule, level: Level, request: Request, resources: Resources
) -> ResponseProperties:
    """As ``none``, later; InputError where the name does not say when."""
    word, _, seconds = molecule.name.partition(" ")
    try:
        if word != "wait":
            raise ValueError
        time.sleep(float(seconds))
    except ValueError:
        raise InputError(f"{molecule.name!r}: give a name such as 'wait 0.5'") from None
    return none(molecule, level, request, resources)


def prepare(name: str, level: Level) -> None:
    """Load what a calculator needs at a level, before the first molecule's time is taken.

    What is missing is told by the first calculation, whose error ends the campaign.
    """
    if name == "psi4":
        with contextlib.suppress(PlatformError):
            engine(level.engine).prepare()


_BY_NAME: dict[str, Calculator] = {"psi4": psi4, "none": none, "wait": wait}


def calculator(name: str) -> Calculator:
    """The calculator of this name; SettingsError if there is none."""
    if name in _BY_NAME:
        return _BY_NAME[name]
    module, _, function = name.partition(":")
    try:
        found: Calculator = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise SettingsError(
            f"calculator {name!r} is neither one of {', '.join(_BY_NAME)} "
            f"nor an importable module:function ({error})"
        ) from error
    return found
