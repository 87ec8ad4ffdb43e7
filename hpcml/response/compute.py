"""The room's front door: one molecule in, its response properties out."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcml.molecules.molecule import Molecule
from hpcml.response import geometry, loewdin, refusals, second_order, shares, units, vibrations
from hpcml.response.engine import Engine, GroundState, Resources, engine, with_engine
from hpcml.response.equations import followed
from hpcml.response.induced_densities import InducedDensities, MatrixDensities
from hpcml.response.kernels import PAIRS
from hpcml.response.level import SHARES, Level, Property, Request
from hpcml.response.properties import ResponseProperties, SecondHyperpolarizability
from hpcml.response.second_hyperpolarizability import second_hyperpolarizabilities
from hpcml.response.shares import AtomicMoments
from hpcml.response.team import Communicator, on_root
from hpcml.response.tensors import Tensors, tensors

Array = NDArray[np.float64]

_PARTITION_TOLD = {"shares": shares.PARTITION, "shares_loewdin": loewdin.PARTITION}
_SECOND_ORDER_CONVERGENCE = 1e-4  # of the shares of beta; their sum is exact in any case


@dataclass
class _Record:
    """What the provenance collects on the way."""

    entries: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.seconds[stage] = time.perf_counter() - started

    def take(self, provenance: dict[str, Any]) -> None:
        """Add a part's provenance; its warnings join those of the others."""
        self.warnings += provenance.get("warnings", [])
        self.entries.update({k: v for k, v in provenance.items() if k != "warnings"})


def compute(
    molecule: Molecule,
    level: Level,
    request: Request,
    *,
    threads: int = 1,
    memory_mb: int = 2000,
    scratch: Path | None = None,
    attempt: int = 0,
    communicator: Communicator | None = None,
) -> ResponseProperties:
    """Response properties of one molecule, in atomic units and in the frame of its geometry.

    threads, memory_mb, scratch   what the engine may use
    attempt        which recipe of the SCF's fallbacks, 0 to the engine's ``attempts`` - 1
    communicator   an mpi4py communicator whose ranks all make this call with the same arguments:
                   they share the trial vectors' products; every rank gets the result

    A request to optimize moves the nuclei first; the properties and the positions in the
    provenance (angstrom) are then those of the minimum.

    Raises the errors of ``hpcml.errors``, each with what to do.
    """
    resources = Resources(threads, memory_mb, scratch, attempt, communicator)
    return compute_with(molecule, with_engine(level), request, resources)


def compute_with(
    molecule: Molecule, level: Level, request: Request, resources: Resources
) -> ResponseProperties:
    """``compute`` with its resources in one struct, by the very engine that the level names."""
    refusals.check(molecule, level)
    refusals.check_request(level, request)
    program, record = engine(level.engine), _Record()
    communicator = resources.communicator
    if request.optimize:
        with record.timed("optimization"):
            molecule = on_root(
                communicator, lambda: _optimized(program, molecule, level, resources)
            )
        record.entries["optimized_positions"] = molecule.positions.tolist()
    by_atom: dict[str, Array] = {}
    gammas: list[SecondHyperpolarizability] = []
    with (
        record.timed("electronic"),
        program.ground_state(molecule, level, resources) as first,
    ):
        follows = level.instability == "follow"
        reference: GroundState = followed(first, communicator) if follows else first
        record.take(reference.provenance)
        with record.timed("response"):
            found = tensors(reference, level, request, communicator)
        record.take(found.provenance)
        if "gamma" in request.properties:
            with record.timed("gamma"):
                gammas = second_hyperpolarizabilities(reference, level, request, communicator)
        if partitions := {word: end for word, end in SHARES.items() if word in request.properties}:
            told = {f"partition{end}": _PARTITION_TOLD[word] for word, end in partitions.items()}
            record.entries.update(told)
            with record.timed("shares"):
                by_atom = _electronic_shares(molecule, reference, found, partitions)
    zpve = frequencies = None
    if "zpve" in request.properties:
        with record.timed("vibrations"):
            modes = on_root(communicator, lambda: _vibrations(program, molecule, level, resources))
        zpve, frequencies = modes.zpve, modes.frequencies
        record.warnings += modes.warnings
        record.entries["infrared_intensities"] = modes.intensities.tolist()
        if "shares" in request.properties:
            by_atom["zpve"] = shares.zero_point_shares(modes.frequencies, modes.modes)
    return ResponseProperties(
        energy=reference.energy,
        dipole=reference.dipole,
        polarizability=found.polarizability,
        hyperpolarizability=found.hyperpolarizability,
        second_hyperpolarizability=gammas,
        zpve=zpve,
        vibrational_frequencies=frequencies,
        shares=by_atom,
        provenance={
            **record.entries,
            "wall_seconds": {name: round(value, 3) for name, value in record.seconds.items()},
            "warnings": record.warnings,
        },
    )


def _optimized(program: Engine, molecule: Molecule, level: Level, resources: Resources) -> Molecule:
    with program.open_surface(molecule, level, resources) as surface:
        minimum = geometry.minimize(surface, molecule.numbers, molecule.positions / units.ANGSTROM)
    return replace(molecule, positions=minimum.positions * units.ANGSTROM)


def _vibrations(
    program: Engine, molecule: Molecule, level: Level, resources: Resources
) -> vibrations.Vibrations:
    with program.open_surface(molecule, level, resources) as surface:
        return vibrations.vibrate(
            surface,
            molecule.numbers,
            molecule.positions / units.ANGSTROM,
            isotopes=molecule.isotopes,
        )


def _electronic_shares(
    molecule: Molecule, reference: GroundState, found: Tensors, partitions: dict[Property, str]
) -> dict[str, Array]:
    """Shares of alpha_iso and of static beta_parallel, of those that were computed."""
    densities: InducedDensities
    if found.densities is not None:
        densities = MatrixDensities.of(*found.densities)
    elif found.fock is not None and found.static:
        densities = second_order.densities(found.fock, found.static, _SECOND_ORDER_CONVERGENCE)
    else:  # nothing electronic was asked for
        return {}
    positions = molecule.positions / units.ANGSTROM
    by_atom: dict[str, Array] = {}
    for word, end in partitions.items():
        if word == "shares":
            moments = reference.atomic_moments(densities)
        else:
            moments = loewdin.atomic_moments(
                densities.matrices,
                reference.overlap,
                reference.dipole_integrals,
                reference.centres,
                positions,
            )
        shared = _shared(molecule.numbers, positions, moments, reference.dipole, found)
        by_atom |= {f"{name}{end}": values for name, values in shared.items()}
    return by_atom


def _shared(
    numbers: NDArray[np.int64],
    positions: Array,
    moments: AtomicMoments,
    dipole: Array,
    found: Tensors,
) -> dict[str, Array]:
    """Shares by name, from the moments of the three first-order and six second-order densities."""
    places = {pair: 3 + index for index, pair in enumerate(PAIRS)}
    nine = [places[min(j, k), max(j, k)] for j in range(3) for k in range(3)]
    shared = {}
    for alpha in found.polarizability:
        if alpha.frequency == 0.0:
            shared["alpha_iso"] = shares.polarizability_shares(
                alpha.tensor, moments.of(range(3)), numbers, positions
            )
    for beta in found.hyperpolarizability:
        if not any(beta.frequencies):
            shared["beta_parallel"] = shares.hyperpolarizability_shares(
                beta.tensor, dipole, moments.of(nine), numbers, positions
            )
    return shared
