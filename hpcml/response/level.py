"""What is computed, and how well: the level of theory and the request."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from itertools import pairwise
from numbers import Real
from typing import Literal, get_args

import msgspec
from msgspec import UNSET, UnsetType

from hpcml.errors import InputError, SettingsError

Property = Literal[
    "dipole", "alpha", "beta", "gamma", "excitation", "zpve", "shares", "shares_loewdin"
]
Process = Literal["static", "shg", "eope", "or"]
EngineName = Literal["psi4", "pyscf", "gpu4pyscf"]
Grid = tuple[int, int]

SHARES: dict[Property, str] = {"shares": "", "shares_loewdin": "_loewdin"}
"""The words that ask for what each atom contributes to alpha and beta: for each partition how the
names of its shares end."""

FINE_KERNEL_GRID: Grid = (75, 302)
COARSE_KERNEL_GRID: Grid = (50, 194)

LOOSE = 1e-5
"""Convergence of the response above which digits may be paid for time."""

_COMPACT = re.compile(
    r"sto-\dg|[346]-(21|31|311)g(\([2-3]?[df]*(,[2-3]?[pd]*)?\)|\*{1,2})?"
    r"|cc-pc?v[dtq5]z|def2-(svp|sv\(p\)|tzvpp?|qzvpp?)"
)
"""Names of basis sets without diffuse functions."""

_SMOOTH = {"svwn", "pbe", "pbe0", "blyp", "bp86", "b3lyp", "b3lyp5", "cam-b3lyp", "wb97x"}
"""Functionals that feel a coarse grid of their kernel little: no meta-GGAs."""

SOLVENT_WORDS = ("solvent", "solvation", "pcm", "cpcm", "iefpcm", "cosmo", "smd")
NO_SOLVENT = (
    "there is no continuum solvation (PCM) here, and no response in one: all properties are those "
    "of the molecule in vacuum; put solvent molecules into the geometry, or leave it out"
)
"""What is said where one is asked for: the response of the continuum to both fields, at their
frequencies, would be part of every kernel."""

LEBEDEV = (
    *(6, 14, 26, 38, 50, 74, 86, 110, 146, 170, 194, 230, 266, 302, 350, 434, 590, 770, 974),
    *(1202, 1454, 1730, 2030, 2354, 2702, 3074, 3470, 3890, 4334, 4802, 5294, 5810),
)
"""Numbers of points for which a Lebedev sphere exists."""


_MOST_DAMPING = 0.1


def _check_words(
    kind: str, words: Sequence[str], known: Sequence[str], where: str = "request"
) -> None:
    """SettingsError, with the nearest word, for a word that is none of the known ones."""
    for word in words:
        if word not in known:
            near = difflib.get_close_matches(str(word), known, n=1)
            advice = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
            raise SettingsError(f"{where}: no {kind} {word!r}: {advice}")


class Level(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A level of theory: method, basis set, integrals, and the thresholds that come with them.

    method                 "HF" or a density functional, as Psi4 names it; RHF or RKS for a
                           singlet, UHF or UKS for every other multiplicity
    basis                  a basis set's name or the path of a .gbs file
    exact                  exact two-electron integrals instead of density fitting
    grid                   (radial, spherical) points of an atom in the SCF's quadrature
    kernel_grid            the same for the exchange-correlation kernel of the response; "auto" is
                           (50, 194) for the usual functionals in basis sets without diffuse
                           functions, where it takes half the time of (75, 302) for errors in beta
                           of 2e-5 of its largest component (formaldehyde, B3LYP, 6-31G(d)), and
                           (75, 302) for all else; a level that is made holds numbers
    scf_convergence        root mean square of the orbital gradient [F, D] at which the SCF ends
    response_convergence   norm of a response equation's residual over that of its right side
    instability            of an SCF that is no minimum: "refuse" it; "follow" it down to one, which
                           of a closed shell is unrestricted; unset (the same as "warn"): its result
                           carries a warning
    damping                gamma of alpha(w + i gamma) at frequencies above 0, hartree: the inverse
                           lifetime of the excited states, which keeps a polarizability finite on a
                           pole and gives it an imaginary part; unset: none
    engine                 the program that does the SCF: "psi4", "pyscf", or "gpu4pyscf",
                           which is PySCF with its SCF on a GPU; unset: Psi4 (see
                           ``engine.with_engine``)
    """

    method: str
    basis: str
    exact: bool = False
    grid: Grid = (75, 302)
    kernel_grid: Grid | Literal["auto"] = "auto"
    scf_convergence: float = 1e-7
    response_convergence: float = 5e-5
    # Unset rather than "warn", and so absent where a level is written: results of levels without
    # this field keep their keys.
    instability: Literal["warn", "refuse", "follow"] | UnsetType = UNSET
    damping: float | UnsetType = UNSET
    engine: EngineName | UnsetType = UNSET

    def __post_init__(self) -> None:
        if self.instability == "warn":
            msgspec.structs.force_setattr(self, "instability", UNSET)
        elif self.instability not in (UNSET, "refuse", "follow"):
            raise SettingsError('level: instability must be "warn", "refuse" or "follow"')
        if self.damping is not UNSET and not 0.0 < self.damping < _MOST_DAMPING:
            raise SettingsError(
                f"level: damping must lie between 0 and {_MOST_DAMPING} hartree (0.004557 is "
                "1000 cm^-1)"
            )
        if self.engine is not UNSET:
            _check_words("engine", [self.engine], get_args(EngineName), "level")
        for name in ("method", "basis"):
            if not getattr(self, name).strip():
                raise SettingsError(f"level: {name} is empty")
        if self.kernel_grid == "auto":
            compact = _COMPACT.fullmatch(self.basis.strip().lower())
            smooth = self.method.strip().lower() in _SMOOTH
            chosen = COARSE_KERNEL_GRID if compact and smooth else FINE_KERNEL_GRID
            msgspec.structs.force_setattr(self, "kernel_grid", chosen)
        for name in ("grid", "kernel_grid"):
            radial, spherical = getattr(self, name)
            if radial < 10:
                raise SettingsError(f"level: {name} has {radial} radial points, fewer than 10")
            if spherical not in LEBEDEV:
                near = min(pairwise((0, *LEBEDEV)), key=lambda pair: abs(pair[1] - spherical))[1]
                raise SettingsError(
                    f"level: {name} asks for {spherical} points on a sphere; "
                    f"the nearest Lebedev grid has {near}"
                )
        for name in ("scf_convergence", "response_convergence"):
            if not 0.0 < getattr(self, name) <= 1e-2:
                raise SettingsError(f"level: {name} must lie between 0 and 0.01")

    @property
    def points_of_kernel(self) -> Grid:
        """``kernel_grid``, which is "auto" no longer."""
        assert self.kernel_grid != "auto"
        return self.kernel_grid

    @property
    def loose(self) -> bool:
        """Whether the response may save time at the price of a millionth."""
        return self.response_convergence > LOOSE

    @property
    def meaning(self) -> Level:
        """The same level as results are keyed by: Psi4 goes without saying."""
        if self.engine != "psi4":
            return self
        return msgspec.structs.replace(self, engine=UNSET)

    @property
    def label(self) -> str:
        """Method and basis as chemists write them: ``B3LYP/6-31+G(d)``."""
        return f"{self.method}/{self.basis}"

    def tight(self) -> Level:
        """The same level with an SCF and response equations converged for the last digit.

        Functionals stop at 1e-8: the noise of an open shell's quadrature lies just below.
        """
        scf = 1e-9 if self.is_hartree_fock else 1e-8
        return msgspec.structs.replace(
            self,
            scf_convergence=min(self.scf_convergence, scf),
            response_convergence=min(self.response_convergence, 1e-7),
        )

    def for_gradients(self) -> Level:
        """The same level with an SCF that differences of gradients can be taken of.

        Functionals stop at 5e-8: of open shells they can stall at 2e-8, the noise of their
        quadrature.
        """
        scf = 1e-8 if self.is_hartree_fock else 5e-8
        return msgspec.structs.replace(self, scf_convergence=min(self.scf_convergence, scf))

    @property
    def is_hartree_fock(self) -> bool:
        return self.method.strip().upper() in {"HF", "SCF", "RHF", "UHF"}


class Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which properties of a molecule are wanted.

    properties    any of dipole, alpha, beta, gamma (beta's derivative by a static field),
                  excitation (the lowest energy), zpve, shares (what each atom contributes to
                  alpha, beta and zpve; Hirshfeld), shares_loewdin (to alpha and beta; Loewdin)
    processes     of beta: static (0; 0, 0), shg (-2w; w, w), eope (-w; w, 0), or (0; w, -w)
    frequencies   in hartree, not negative; alpha is given at 0 and at each, beta for each
                  process at each (static once)
    pairs         further pairs (w1, w2) of either sign: beta(-w1-w2; w1, w2)
    optimize      take the geometry to the minimum at this level first
    """

    properties: tuple[Property, ...] = ("dipole", "alpha", "beta")
    processes: tuple[Process, ...] = ("static",)
    frequencies: tuple[float, ...] = ()
    pairs: tuple[tuple[float, float], ...] = ()
    optimize: bool = False

    def __post_init__(self) -> None:
        for name in ("properties", "processes", "frequencies", "pairs"):
            if isinstance(getattr(self, name), str) or not isinstance(
                getattr(self, name), Iterable
            ):
                raise SettingsError(f"request: {name} must be several, such as a tuple or a list")
        if not self.properties:
            raise SettingsError("request: names no property")
        numbers = [*self.frequencies, *(each for pair in self.pairs for each in pair)]
        if wrong := [each for each in numbers if not isinstance(each, Real)]:
            raise SettingsError(f"request: {wrong[0]!r} is no frequency in hartree")
        _check_words("property", self.properties, get_args(Property))
        _check_words("process", self.processes, get_args(Process))
        if "gamma" in self.properties and "beta" not in self.properties:
            raise SettingsError(
                "request: gamma is the derivative of beta: ask for beta too, whose processes it has"
            )
        for pair in self.pairs:
            if not all(abs(frequency) < float("inf") for frequency in pair):
                raise InputError(f"request: pair {pair} holds what is no finite number of hartree")
        for frequency in self.frequencies:
            if not 0.0 <= frequency < float("inf"):
                raise InputError(
                    f"request: frequency {frequency} hartree is not a number from 0 up; "
                    "give its absolute value (alpha(-w; w) = alpha(w; -w))"
                )
        dynamic = [process for process in self.processes if process != "static"]
        if dynamic and "beta" in self.properties and not any(self.frequencies):
            raise SettingsError(
                f"request: {', '.join(dynamic)} needs a frequency above 0, and none is given"
            )

    @property
    def polarizability_frequencies(self) -> tuple[float, ...]:
        """0 and every requested frequency, once each, ascending."""
        return tuple(sorted({0.0, *self.frequencies}))

    @property
    def hyperpolarizabilities(self) -> tuple[tuple[str, tuple[float, float, float]], ...]:
        """(process, (-w_sigma, w_1, w_2)) of every hyperpolarizability wanted, in this order:
        process by process as listed, each at the frequencies above zero ascending, then the
        pairs under the name "pair"."""
        if "beta" not in self.properties:
            return ()
        inputs = {"shg": (1.0, 1.0), "eope": (1.0, 0.0), "or": (1.0, -1.0)}
        wanted: list[tuple[str, float, float]] = []
        for process in dict.fromkeys(self.processes):
            if process == "static":
                wanted.append((process, 0.0, 0.0))
                continue
            first, second = inputs[process]
            wanted += [
                (process, first * w, second * w) for w in sorted(set(self.frequencies)) if w > 0.0
            ]
        wanted += [("pair", first, second) for first, second in self.pairs]
        # adding 0.0 turns -0.0, which would print as "-0", into 0.0
        return tuple((name, (-(w1 + w2) + 0.0, w1, w2 + 0.0)) for name, w1, w2 in wanted)
