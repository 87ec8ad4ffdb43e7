"""Polarizabilities and hyperpolarizabilities of a converged ground state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from msgspec import UNSET
from numpy.typing import NDArray

from hpcml.errors import InputError, SettingsError
from hpcml.response import damped_response, finite_field, quadratic
from hpcml.response import linear_response as linear
from hpcml.response.engine import GroundState
from hpcml.response.equations import ROUGH_GRID, kernel_of, stability_of
from hpcml.response.excitations import lowest_excitation
from hpcml.response.fock import FockResponse
from hpcml.response.kernel_terms import third_derivatives_of
from hpcml.response.level import SHARES, Level, Request
from hpcml.response.properties import Hyperpolarizability, Polarizability
from hpcml.response.quadratic import FirstOrder
from hpcml.response.shared_products import SharedProducts
from hpcml.response.stability import Stability
from hpcml.response.team import Communicator, Product, lead, on_root, together

Array = NDArray[np.float64]

_NEAR_POLE = 4e-3  # hartree
_EXCITATIONS = 10  # the lowest estimates; higher ones mean little

Process = tuple[str, tuple[float, float, float]]
"""A name and (-w_sigma, w_1, w_2)."""

Perturbation = tuple[int, float]
"""Axis of the field and |frequency| in hartree."""


@dataclass(frozen=True)
class _Wanted:
    """A request in numbers: all |frequencies| that occur, those of alpha, and the betas."""

    frequencies: list[float]
    alphas: tuple[float, ...]
    processes: tuple[Process, ...]
    static: bool
    excitation: bool

    @classmethod
    def of(cls, request: Request) -> _Wanted:
        alphas = request.polarizability_frequencies if "alpha" in request.properties else ()
        processes = request.hyperpolarizabilities
        shares = not SHARES.keys().isdisjoint(request.properties) and bool(alphas or processes)
        static = {0.0} if shares else set()
        return cls(
            sorted({*alphas, *(abs(w) for _, triple in processes for w in triple), *static}),
            alphas,
            processes,
            shares,
            "excitation" in request.properties,
        )

    @property
    def lights(self) -> list[float]:
        """Frequencies above zero at which alpha is wanted."""
        return [w for w in self.alphas if w > 0.0]

    @property
    def without_lights(self) -> _Wanted:
        """The same without alpha at them (whose betas are static)."""
        kept = [w for w in self.frequencies if w not in self.lights]
        return replace(self, frequencies=kept, alphas=tuple(w for w in self.alphas if w == 0.0))

    @property
    def first_order(self) -> list[float]:
        """|frequencies| at which first-order Fock matrices are needed."""
        static = {0.0} if self.static else set()
        return sorted(static | {abs(w) for _, triple in self.processes for w in triple})

    @property
    def perturbations(self) -> list[Perturbation]:
        """Those whose first-order Fock matrices are needed: all axes at these frequencies."""
        return [(axis, w) for w in self.first_order for axis in range(3)]

    def of_perturbations(self, solutions: Array) -> Array:
        """Solutions (3, F, N) of the perturbations, (m, N)."""
        of_frequency = {w: index for index, w in enumerate(self.frequencies)}
        found = [solutions[axis, of_frequency[w]] for axis, w in self.perturbations]
        return np.array(found) if found else np.empty((0, solutions.shape[-1]))


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

    Parameters
    ----------
    reference : GroundState
    level : Level
    request : Request
    communicator : Communicator, optional
        Every rank makes this call and gets the result.

    Raises
    ------
    ConvergenceError
        If the response equations, or an SCF in a finite field, do not converge.
    InputError
        If a frequency lies on an excitation energy, and for an SCF that is no minimum where the
        level refuses those.
    SettingsError
        For what the functional has no response for.
    """
    wanted = _Wanted.of(request)
    if not wanted.frequencies and not wanted.excitation:
        return Tensors()
    if reference.why_not_analytic:
        return on_root(communicator, lambda: _by_finite_field(reference, level, wanted))
    lights = wanted.lights if level.damping is not UNSET else []
    if lights:
        wanted = wanted.without_lights

    def equations() -> tuple[FockResponse, FockResponse]:
        two_electron = reference.two_electron(3 * len(wanted.frequencies))
        fine, rough = (
            FockResponse(reference.channels, two_electron, kernel_of(reference, grid))
            for grid in (level.points_of_kernel, ROUGH_GRID)
        )
        return fine, rough

    fock, rough = together(communicator, equations)
    # a field F couples through -mu F
    operators = -reference.dipole_integrals

    def solve(products: Mapping[str, Product]) -> tuple[linear.Solution, Array | None]:
        shared = SharedProducts(products)
        solution = _solve(fock, operators, np.array(wanted.frequencies), level, shared)
        if not wanted.static:
            return solution, None
        return solution, shared.kernel_blocks(solution.plus[:, 0])

    def first(products: Mapping[str, Product]) -> float | None:
        shared = SharedProducts(products)
        return lowest_excitation(fock.gaps, shared.rough_plus, shared.minus, shared.plus)

    stable = on_root(communicator, lambda: stability_of(reference, rough.two_electron))
    if stable.unstable and level.instability == "refuse":
        raise InputError(
            f"{level.label}: {stable.warnings[0]}; give another multiplicity, or "
            'instability = "follow"'
        )
    shared = SharedProducts.of(fock, rough)
    lowest = lead(shared, communicator, first) if wanted.excitation else None
    if not wanted.frequencies:
        return Tensors(provenance=_state(stable, lowest) | {"warnings": stable.warnings})
    solved = lead(shared, communicator, solve)
    damped: list[Polarizability] = []
    if lights:
        damped = lead(
            shared,
            communicator,
            lambda products: _damped(fock, operators, lights, level, SharedProducts(products)),
        )
    found = together(
        communicator, lambda: _assemble(fock, operators, solved, (stable, lowest), wanted)
    )
    if damped:
        found.polarizability.extend(damped)
        found.provenance["damping"] = level.damping
    return found


def _solve(
    fock: FockResponse,
    operators: Array,
    frequencies: Array,
    level: Level,
    shared: SharedProducts,
) -> linear.Solution:
    precondition = None
    if fock.kernel is not None:
        precondition = linear.nested(fock.gaps, shared.rough_plus, shared.minus)
    return linear.solve(
        fock.gaps,
        fock.gradients(operators),
        frequencies,
        shared.plus,
        shared.minus,
        convergence=level.response_convergence,
        precondition=precondition,
    )


def _damped(
    fock: FockResponse,
    operators: Array,
    frequencies: Sequence[float],
    level: Level,
    shared: SharedProducts,
) -> list[Polarizability]:
    """alpha(w + i gamma) at each frequency."""
    assert level.damping is not UNSET
    precondition = None
    if fock.kernel is not None:
        precondition = damped_response.nested(fock.gaps, shared.rough_plus, shared.minus)
    gradients = fock.gradients(operators)
    plus, _ = damped_response.solve(
        fock.gaps,
        gradients,
        np.array(frequencies) + 1j * level.damping,
        shared.plus,
        shared.minus,
        convergence=level.response_convergence,
        precondition=precondition,
    )
    found = []
    for index, w in enumerate(frequencies):
        tensor = -fock.occupation * gradients @ plus[:, index].T
        found.append(Polarizability(w, _symmetric(tensor.real), _symmetric(tensor.imag)))
    return found


def _assemble(
    fock: FockResponse,
    operators: Array,
    solved: tuple[linear.Solution, Array | None],
    state: tuple[Stability, float | None],
    wanted: _Wanted,
) -> Tensors:
    """The tensors from the solutions of the response equations.

    solved   these, and the ``kernel_blocks`` of the static ones where they are wanted

    A perturbation is (axis, |w|): the field along an axis at a frequency, whose sign only
    exchanges X and Y.
    """
    solution, kernel_blocks = solved
    of_frequency = {w: index for index, w in enumerate(wanted.frequencies)}
    gradients = fock.gradients(operators)
    perturbations = wanted.perturbations
    plus, minus = (wanted.of_perturbations(each) for each in (solution.plus, solution.minus))
    first_order: list[list[FirstOrder]] = []
    hyperpolarizability: list[Hyperpolarizability] = []
    if perturbations:
        own = operators[[axis for axis, _ in perturbations]]
        first_order = fock.first_order(own, plus, minus)
        number = {perturbation: m for m, perturbation in enumerate(perturbations)}
        hyperpolarizability = _hyperpolarizabilities(
            fock, first_order, plus, number, wanted.processes
        )
    return Tensors(
        polarizability=[
            Polarizability(
                w, _symmetric(-fock.occupation * gradients @ solution.plus[:, of_frequency[w]].T)
            )
            for w in wanted.alphas
        ],
        hyperpolarizability=hyperpolarizability,
        static=[] if kernel_blocks is None else fock.with_kernel(first_order, kernel_blocks),
        fock=fock,
        provenance={
            "response": "analytic, 2n + 1 rule",
            "response_iterations": solution.iterations,
            "response_products": list(solution.products),
            "response_residual": float(solution.residuals.max()),
            **_state(state[0], min([*solution.excitations, *_known(state[1])], default=None)),
            **({"third_derivatives": fock.kernel.third.source} if fock.kernel else {}),
            "warnings": _warnings(solution, state, wanted.frequencies),
        },
    )


def _state(stable: Stability, lowest: float | None) -> dict[str, float | None]:
    """What the response tells of the ground state: the end of the columns beside the schema's."""
    return {
        "orbital_hessian": None if np.isinf(stable.eigenvalue) else stable.eigenvalue,
        "first_excitation": None if lowest is None else float(lowest),
    }


def _known(lowest: float | None) -> list[float]:
    return [] if lowest is None else [lowest]


def _hyperpolarizabilities(
    fock: FockResponse,
    first_order: list[list[FirstOrder]],
    plus: Array,
    number: Mapping[Perturbation, int],
    processes: Sequence[Process],
) -> list[Hyperpolarizability]:
    """beta of each process.

    first_order   [channel][perturbation]
    plus          (m, N): P of the perturbations
    number        of a perturbation among them
    """
    components = [
        (triple, component)
        for triple in dict.fromkeys(triple for _, triple in processes)
        for component in quadratic.unique_components(triple)
    ]
    values = np.zeros(len(components))
    for n, (triple, component) in enumerate(components):
        for channel in first_order:
            signed = [
                channel[number[axis, abs(w)]]
                if w >= 0.0
                else channel[number[axis, abs(w)]].at_negative_frequency()
                for axis, w in zip(component, triple, strict=True)
            ]
            values[n] -= fock.occupation * quadratic.fock_terms(*signed)
    if fock.kernel is not None:
        values -= third_derivatives_of(
            fock,
            first_order,
            plus,
            [
                tuple((number[axis, abs(w)], w) for axis, w in zip(component, triple, strict=True))
                for triple, component in components
            ],
        )
    found = dict(zip(components, values, strict=True))
    return [
        Hyperpolarizability(
            process,
            triple,
            quadratic.fill({c: value for (t, c), value in found.items() if t == triple}, triple),
        )
        for process, triple in processes
    ]


def _warnings(
    solution: linear.Solution,
    state: tuple[Stability, float | None],
    frequencies: Sequence[float],
) -> list[str]:
    stable, lowest = state
    estimates = [w for w in solution.excitations if lowest is None or w > lowest + _NEAR_POLE]
    excitations = [*_known(lowest), *estimates]
    warnings = list(stable.warnings)
    if not solution.stable and not stable.unstable:
        warnings.append(
            "the SCF solution is not a minimum (A + B has a negative eigenvalue): its response "
            "may mean nothing"
        )
    warnings += [
        f"frequency {frequency:.6f} hartree lies near a pole of the response, an excitation energy "
        f"about {excitation:.4f} hartree: values there depend strongly on the level"
        for frequency in frequencies
        for excitation in excitations[:_EXCITATIONS]
        if abs(excitation - frequency) < _NEAR_POLE
    ]
    if excitations and frequencies[-1] > excitations[0]:
        warnings.append(
            f"frequency {frequencies[-1]:.6f} hartree lies above the first excitation energy, "
            f"about {excitations[0]:.4f} hartree"
        )
    return warnings


def _by_finite_field(reference: GroundState, level: Level, wanted: _Wanted) -> Tensors:
    left_out = ["no excitation energy, because " + reference.why_not_analytic] * wanted.excitation
    if not wanted.frequencies:
        return Tensors(provenance={"warnings": left_out})
    static = [(process, triple) for process, triple in wanted.processes if not any(triple)]
    dynamic = any(wanted.frequencies)
    if dynamic and not static and 0.0 not in wanted.alphas:
        raise SettingsError(
            f"{level.label}: only static properties are possible here, because "
            f"{reference.why_not_analytic}; leave the frequencies out or choose another functional"
        )
    if len(reference.channels) > 1:
        raise SettingsError(
            f"{level.label}: {reference.why_not_analytic}, and the SCF of one with an open shell "
            "stalls above the precision that finite fields need; choose a GGA or a hybrid of one"
        )
    first, second = finite_field.derivatives(
        lambda field: finite_field.density_in_field(reference, field)
    )
    alpha = np.einsum("imn,mnj->ij", reference.dipole_integrals, first)
    beta = np.einsum("imn,mnjk->ijk", reference.dipole_integrals, second)
    return Tensors(
        polarizability=[Polarizability(w, _symmetric(alpha)) for w in wanted.alphas if w == 0.0],
        hyperpolarizability=[
            Hyperpolarizability(process, triple, beta) for process, triple in static
        ],
        densities=(np.moveaxis(first, -1, 0), np.moveaxis(second, (-2, -1), (0, 1))),
        provenance={
            "response": f"finite field, because {reference.why_not_analytic}",
            "finite_field_step": finite_field.STEP,
            "warnings": left_out
            + [
                f"static properties alone, because {reference.why_not_analytic}: what was asked "
                "for at frequencies is not given"
            ]
            * dynamic,
        },
    )


def _symmetric(tensor: Array) -> Array:
    return 0.5 * (tensor + tensor.T)
