"""The room's front door: one molecule in, its response properties out."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcml.molecules.molecule import Molecule
from hpcml.response import linear, quadratic
from hpcml.response.fock import FockResponse
from hpcml.response.level import Level, Request
from hpcml.response.properties import Hyperpolarizability, Polarizability, ResponseProperties
from hpcml.response.reference import Reference, Resources, ground_state

Array = NDArray[np.float64]

ROUGH_GRID = (20, 50)
"""Grid of the kernel that preconditions the one on the level's own grid."""


def compute(
    molecule: Molecule,
    level: Level,
    request: Request,
    *,
    threads: int = 1,
    memory_mb: int = 2000,
    scratch: Path | None = None,
    attempt: int = 0,
) -> ResponseProperties:
    """Response properties of one molecule, in atomic units and in the frame of its geometry.

    threads, memory_mb, scratch   what Psi4 may use
    attempt                       which recipe of the SCF's fallbacks (``reference.ATTEMPTS``)

    Raises the errors of ``hpcml.errors``, each with what to do.
    """
    started = time.perf_counter()
    resources = Resources(threads, memory_mb, scratch)
    reference = ground_state(molecule, level, resources, attempt=attempt)
    scf_done = time.perf_counter()
    polarizabilities, hyperpolarizabilities, provenance = response_tensors(
        reference, level, request
    )
    finished = time.perf_counter()
    return ResponseProperties(
        energy=reference.energy,
        dipole=reference.dipole,
        polarizability=polarizabilities,
        hyperpolarizability=hyperpolarizabilities,
        provenance={
            **reference.provenance,
            **provenance,
            "wall_seconds": {
                "scf": scf_done - started,
                "response": finished - scf_done,
                "total": finished - started,
            },
        },
    )


def response_tensors(
    reference: Reference, level: Level, request: Request
) -> tuple[list[Polarizability], list[Hyperpolarizability], dict[str, Any]]:
    """Every alpha and beta of a request, from one solve for all frequencies together."""
    wants_alpha = "alpha" in request.properties
    processes = request.hyperpolarizabilities
    alpha_frequencies = request.polarizability_frequencies if wants_alpha else ()
    frequencies = np.array(
        sorted({*alpha_frequencies, *(abs(w) for _, triple in processes for w in triple)})
    )
    if not len(frequencies):
        return [], [], {}
    two_electron = reference.two_electron(3 * len(frequencies))
    fock = FockResponse(reference.channels, two_electron, reference.kernel(level.kernel_grid))
    precondition = None
    if fock.kernel is not None:
        rough = FockResponse(reference.channels, two_electron, reference.kernel(ROUGH_GRID))
        precondition = linear.nested(fock.gaps, rough.plus_product, rough.minus_product)
    # a field F couples through -mu F
    operators = -reference.dipole_integrals
    gradients = fock.gradients(operators)
    solution = linear.solve(
        fock.gaps,
        gradients,
        frequencies,
        fock.plus_product,
        fock.minus_product,
        convergence=level.response_convergence,
        precondition=precondition,
    )
    column = {float(w): index for index, w in enumerate(frequencies)}
    polarizabilities = [
        Polarizability(w, _symmetric(-fock.occupation * gradients @ solution.plus[:, column[w]].T))
        for w in alpha_frequencies
    ]
    hyperpolarizabilities = _hyperpolarizabilities(
        fock, operators, frequencies, solution, processes
    )
    return (
        polarizabilities,
        hyperpolarizabilities,
        {
            "response_iterations": solution.iterations,
            "response_products": list(solution.products),
            "response_residual": float(solution.residuals.max()),
        },
    )


def _hyperpolarizabilities(
    fock: FockResponse,
    operators: Array,
    frequencies: Array,
    solution: linear.Solution,
    processes: tuple[tuple[str, tuple[float, float, float]], ...],
) -> list[Hyperpolarizability]:
    used = sorted({abs(w) for _, triple in processes for w in triple})
    if not used:
        return []
    column = {float(w): index for index, w in enumerate(frequencies)}
    chosen = [(axis, w) for w in used for axis in range(3)]
    index = {label: m for m, label in enumerate(chosen)}
    plus = np.array([solution.plus[axis, column[w]] for axis, w in chosen])
    minus = np.array([solution.minus[axis, column[w]] for axis, w in chosen])
    carried = np.array([solution.carried[axis, column[w]] for axis, w in chosen])
    first_order = fock.first_order(operators[[axis for axis, _ in chosen]], plus, minus, carried)

    wanted = [
        (triple, component)
        for _, triple in processes
        for component in quadratic.unique_components(triple)
    ]
    values = np.zeros(len(wanted))
    for n, (triple, component) in enumerate(wanted):
        for channel in first_order:
            values[n] -= fock.occupation * quadratic.fock_terms(
                *(
                    channel[index[axis, abs(w)]]
                    if w >= 0.0
                    else channel[index[axis, abs(w)]].at_negative_frequency()
                    for axis, w in zip(component, triple, strict=True)
                )
            )
    if fock.kernel is not None:
        # symmetric densities: the sign of a frequency does not matter
        triples = [
            (index[i, abs(sigma)], index[j, abs(first)], index[k, abs(second)])
            for (sigma, first, second), (i, j, k) in wanted
        ]
        values -= fock.kernel.third_order(fock.first_order_orbitals(fock.split(plus)), triples)

    results = []
    for process, triple in processes:
        tensor = quadratic.fill(
            {
                component: values[n]
                for n, (label, component) in enumerate(wanted)
                if label == triple
            },
            triple,
        )
        results.append(Hyperpolarizability(process, triple, tensor))
    return results


def _symmetric(tensor: Array) -> Array:
    return 0.5 * (tensor + tensor.T)
