"""Polarizabilities and hyperpolarizabilities of a converged ground state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcml.errors import SettingsError
from hpcml.response import finite_field, quadratic
from hpcml.response import linear_response as linear
from hpcml.response.engine import GroundState
from hpcml.response.fock import FockResponse
from hpcml.response.kernels import Kernel
from hpcml.response.level import Grid, Level, Request
from hpcml.response.properties import Hyperpolarizability, Polarizability
from hpcml.response.quadratic import FirstOrder
from hpcml.response.team import Communicator, Product, lead, on_root, together

Array = NDArray[np.float64]

ROUGH_GRID: Grid = (20, 50)
"""Grid of the kernel that preconditions the one on the level's own grid."""

Process = tuple[str, tuple[float, float, float]]
"""A name and (-w_sigma, w_1, w_2)."""


@dataclass(frozen=True)
class _Wanted:
    """A request in numbers: all |frequencies| that occur, those of alpha, and the betas."""

    frequencies: list[float]
    alphas: tuple[float, ...]
    processes: tuple[Process, ...]
    static: bool

    @classmethod
    def of(cls, request: Request) -> _Wanted:
        alphas = request.polarizability_frequencies if "alpha" in request.properties else ()
        processes = request.hyperpolarizabilities
        return cls(
            sorted({*alphas, *(abs(w) for _, triple in processes for w in triple)}),
            alphas,
            processes,
            "shares" in request.properties and bool(alphas or processes),
        )

    @property
    def first_order(self) -> list[float]:
        """|frequencies| at which first-order Fock matrices are needed."""
        static = {0.0} if self.static else set()
        return sorted(static | {abs(w) for _, triple in self.processes for w in triple})


@dataclass(frozen=True)
class Tensors:
    """Everything electronic that a request asked for.

    static        first order in a static field: [channel][axis]; empty where not analytic
    fock          the response equations that gave them
    densities     of first (3, n, n) and second order (3, 3, n, n), where finite fields gave them
    provenance    JSON-able
    """

    polarizability: list[Polarizability] = field(default_factory=list)
    hyperpolarizability: list[Hyperpolarizability] = field(default_factory=list)
    static: list[list[FirstOrder]] = field(default_factory=list)
    fock: FockResponse | None = None
    densities: tuple[Array, Array] | None = None
    provenance: dict[str, Any] = field(default_factory=dict)


def tensors(
    reference: GroundState,
    level: Level,
    request: Request,
    communicator: Communicator | None = None,
) -> Tensors:
    """Every alpha and beta of a request, from one solve for all frequencies together.

    With a communicator, every rank makes this call and gets the result.
    """
    wanted = _Wanted.of(request)
    if not wanted.frequencies:
        return Tensors()
    if reference.why_not_analytic:
        return on_root(communicator, lambda: _by_finite_field(reference, level, wanted))

    def equations() -> tuple[FockResponse, FockResponse]:
        two_electron = reference.two_electron(3 * len(wanted.frequencies))
        fine, rough = (
            FockResponse(reference.channels, two_electron, _kernel(reference, grid))
            for grid in (level.kernel_grid, ROUGH_GRID)
        )
        return fine, rough

    fock, rough = together(communicator, equations)
    products: dict[str, Product] = {
        "plus": fock.plus_product,
        "minus": lambda trials: (fock.minus_product(trials),),
        "rough plus": rough.plus_product,
    }
    # a field F couples through -mu F
    operators = -reference.dipole_integrals

    def solve(shared: Mapping[str, Product]) -> linear.Solution:
        return _solve(fock, operators, np.array(wanted.frequencies), level, shared)

    solution = lead(products, communicator, solve)
    return together(communicator, lambda: _assemble(fock, operators, solution, wanted))


def _kernel(reference: GroundState, grid: Grid) -> Kernel | None:
    """The exchange-correlation response on a grid; None for Hartree-Fock."""
    blocks = reference.blocks(grid)
    if blocks is None:
        return None
    functional = reference.functional(len(reference.channels) == 1)
    return Kernel(blocks, functional, [channel.occupied for channel in reference.channels])


def _solve(
    fock: FockResponse,
    operators: Array,
    frequencies: Array,
    level: Level,
    products: Mapping[str, Product],
) -> linear.Solution:
    def plus(name: str) -> linear.PlusProduct:
        def product(trials: Array) -> tuple[Array, Array, Array]:
            images, minus_images, carried = products[name](trials)
            return images, minus_images, carried

        return product

    def minus(trials: Array) -> Array:
        return products["minus"](trials)[0]

    return linear.solve(
        fock.gaps,
        fock.gradients(operators),
        frequencies,
        plus("plus"),
        minus,
        convergence=level.response_convergence,
        precondition=(
            None if fock.kernel is None else linear.nested(fock.gaps, plus("rough plus"), minus)
        ),
    )


def _assemble(
    fock: FockResponse,
    operators: Array,
    solution: linear.Solution,
    wanted: _Wanted,
) -> Tensors:
    """The tensors from the solutions of the response equations."""
    column = {w: index for index, w in enumerate(wanted.frequencies)}
    gradients = fock.gradients(operators)
    perturbations = [(axis, w) for w in wanted.first_order for axis in range(3)]
    plus, minus, carried = (
        np.array([values[axis, column[w]] for axis, w in perturbations])
        for values in (solution.plus, solution.minus, solution.carried)
    )
    first_order: list[list[FirstOrder]] = []
    hyperpolarizability: list[Hyperpolarizability] = []
    if perturbations:
        own = operators[[axis for axis, _ in perturbations]]
        first_order = fock.first_order(own, plus, minus, carried)
        index = {label: m for m, label in enumerate(perturbations)}
        hyperpolarizability = _hyperpolarizabilities(fock, first_order, plus, index, wanted)
    return Tensors(
        polarizability=[
            Polarizability(
                w, _symmetric(-fock.occupation * gradients @ solution.plus[:, column[w]].T)
            )
            for w in wanted.alphas
        ],
        hyperpolarizability=hyperpolarizability,
        static=[channel[:3] for channel in first_order] if 0.0 in wanted.first_order else [],
        fock=fock,
        provenance={
            "response": "analytic, 2n + 1 rule",
            "response_iterations": solution.iterations,
            "response_products": list(solution.products),
            "response_residual": float(solution.residuals.max()),
            "warnings": _warnings(solution, wanted.frequencies),
        },
    )


def _hyperpolarizabilities(
    fock: FockResponse,
    first_order: list[list[FirstOrder]],
    plus: Array,
    index: Mapping[tuple[int, float], int],
    request: _Wanted,
) -> list[Hyperpolarizability]:
    """beta of each process; ``index`` finds (axis, |frequency|) among the perturbations."""
    wanted = [
        (triple, component)
        for triple in dict.fromkeys(triple for _, triple in request.processes)
        for component in quadratic.unique_components(triple)
    ]
    values = np.zeros(len(wanted))
    for n, (triple, component) in enumerate(wanted):
        for channel in first_order:
            signed = [
                channel[index[axis, abs(w)]]
                if w >= 0.0
                else channel[index[axis, abs(w)]].at_negative_frequency()
                for axis, w in zip(component, triple, strict=True)
            ]
            values[n] -= fock.occupation * quadratic.fock_terms(*signed)
    if fock.kernel is not None:
        # symmetric densities: the sign of a frequency does not matter
        triples = [
            (index[i, abs(sigma)], index[j, abs(first)], index[k, abs(second)])
            for (sigma, first, second), (i, j, k) in wanted
        ]
        values -= fock.kernel.third_order(fock.first_order_orbitals(fock.split(plus)), triples)
    found = dict(zip(wanted, values, strict=True))
    return [
        Hyperpolarizability(
            process,
            triple,
            quadratic.fill({c: value for (t, c), value in found.items() if t == triple}, triple),
        )
        for process, triple in request.processes
    ]


def _warnings(solution: linear.Solution, frequencies: Sequence[float]) -> list[str]:
    warnings = []
    if not solution.stable:
        warnings.append(
            "the SCF solution is not a minimum (A + B has a negative eigenvalue): its response "
            "may mean nothing"
        )
    if len(solution.excitations) and frequencies[-1] > solution.excitations[0]:
        warnings.append(
            f"frequency {frequencies[-1]:.6f} hartree lies above the first excitation energy, "
            f"about {solution.excitations[0]:.4f} hartree"
        )
    return warnings


def _by_finite_field(reference: GroundState, level: Level, wanted: _Wanted) -> Tensors:
    if any(wanted.frequencies):
        raise SettingsError(
            f"{level.label}: only static properties are possible here, because "
            f"{reference.why_not_analytic}; leave the frequencies out or choose another functional"
        )
    if len(reference.channels) > 1:
        raise SettingsError(
            f"{level.label}: {reference.why_not_analytic}, and the SCF of one with an open shell "
            "stalls above the precision that finite fields need; choose a GGA or a hybrid of one"
        )
    first, second = finite_field.derivatives(reference.density_in_field)
    alpha = np.einsum("imn,mnj->ij", reference.dipole_integrals, first)
    beta = np.einsum("imn,mnjk->ijk", reference.dipole_integrals, second)
    return Tensors(
        polarizability=[Polarizability(0.0, _symmetric(alpha)) for _ in wanted.alphas],
        hyperpolarizability=[
            Hyperpolarizability(process, triple, beta) for process, triple in wanted.processes
        ],
        densities=(np.moveaxis(first, -1, 0), np.moveaxis(second, (-2, -1), (0, 1))),
        provenance={
            "response": f"finite field, because {reference.why_not_analytic}",
            "finite_field_step": finite_field.STEP,
        },
    )


def _symmetric(tensor: Array) -> Array:
    return 0.5 * (tensor + tensor.T)
