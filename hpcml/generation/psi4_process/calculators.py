"""What a Psi4 worker process runs for a molecule.

``psi4`` is the physics.  ``none`` computes nothing and returns zeros in the right shapes: it
measures what everything around the physics costs (``hpcml generate --dry-run`` and the
benchmarks use it).  A Python caller may name its own function as ``module:function``.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hpcml.errors import PlatformError, SettingsError
from hpcml.generation.protocol.letters import GroupCommunicator
from hpcml.molecules import Molecule
from hpcml.response import (
    Hyperpolarizability,
    Level,
    Polarizability,
    Request,
    ResponseProperties,
    compute,
)
from hpcml.response.psi4.reference import ATTEMPTS, library_folder


@dataclass(frozen=True)
class Resources:
    """What one calculation may use.

    threads, memory_mb   of this process
    scratch              a private folder, emptied after the process
    attempt              0 for the first try, then the rung of the fallback ladder
    communicator         of the processes that compute the molecule together; None: one alone
    """

    threads: int
    memory_mb: int
    scratch: Path
    attempt: int
    communicator: GroupCommunicator | None = None


Calculator = Callable[[Molecule, Level, Request, Resources], ResponseProperties]


def psi4(
    molecule: Molecule, level: Level, request: Request, resources: Resources
) -> ResponseProperties:
    """The response properties from Psi4."""
    return compute(
        molecule,
        level,
        request,
        threads=resources.threads,
        memory_mb=resources.memory_mb,
        scratch=resources.scratch,
        attempt=min(resources.attempt, ATTEMPTS - 1),
        communicator=resources.communicator,
    )


def none(
    molecule: Molecule, level: Level, request: Request, resources: Resources
) -> ResponseProperties:
    """Zeros in the shapes of the request; the provenance says so."""
    frequencies = [w for w in request.frequencies if w != 0.0]
    pairs = [
        (process, [0.0] if process == "static" else frequencies) for process in request.processes
    ]
    return ResponseProperties(
        energy=0.0,
        dipole=np.zeros(3),
        polarizability=[Polarizability(w, np.zeros((3, 3))) for w in (0.0, *frequencies)],
        hyperpolarizability=[
            Hyperpolarizability(process, (-w, w, 0.0), np.zeros((3, 3, 3)))
            for process, grid in pairs
            for w in grid
        ]
        if "beta" in request.properties
        else [],
        zpve=0.0 if "zpve" in request.properties else None,
        provenance={"program": "none", "method": level.method, "basis": level.basis},
    )


def prepare(name: str) -> None:
    """Load what a calculator needs, before the first molecule's time is taken.

    What is missing is told by the first calculation, whose error ends the campaign.
    """
    if name == "psi4":
        with contextlib.suppress(PlatformError):
            library_folder()


_BY_NAME: dict[str, Calculator] = {"psi4": psi4, "none": none}


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
