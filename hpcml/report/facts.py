"""The facts that the page shows, as plain numbers and words: no file is read here."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from hpcml.molecules import Molecule


@dataclass(frozen=True)
class Predictions:
    """One property of N molecules: computed and predicted, in ``unit``.

    parts       (N,) text, the part of the split
    reference   (N,) what was computed, NaN where a molecule has no value
    predicted   (N,) what the network says
    by_counts   (N,) what least squares on atom counts says (``by_atom_counts``), NaN where it can
                say nothing; None: not known
    rows        (N,) rows of the data set, -1 where it has no such row; None: not known
    worth       atomic number -> what an atom is worth by that least-squares fit
    """

    quantity: str
    unit: str
    parts: NDArray[np.str_]
    reference: NDArray[np.float64]
    predicted: NDArray[np.float64]
    by_counts: NDArray[np.float64] | None = None
    rows: NDArray[np.int64] | None = None
    worth: dict[int, float] = field(default_factory=dict)

    @property
    def known(self) -> Predictions:
        """Those of molecules that have a value."""
        known = np.isfinite(self.reference)
        return replace(
            self,
            parts=self.parts[known],
            reference=self.reference[known],
            predicted=self.predicted[known],
            by_counts=None if self.by_counts is None else self.by_counts[known],
            rows=None if self.rows is None else self.rows[known],
        )


@dataclass(frozen=True)
class Computed:
    """One property that was computed, of N molecules, NaN where one has none.

    outliers   rows of the data set that lie farthest from the median, farthest first
    """

    quantity: str
    unit: str
    values: NDArray[np.float64]
    outliers: tuple[int, ...] = ()


@dataclass(frozen=True)
class Curve:
    """How training went: (E,) epochs, training loss (scaled errors), validation MAE in ``unit``."""

    epochs: NDArray[np.int64]
    loss: NDArray[np.float64]
    validation_mae: NDArray[np.float64]
    unit: str


@dataclass(frozen=True)
class LearningCurve:
    """(S,) sizes of training sets and the test error, in ``unit``, of a network for each.

    baselines   name -> training molecules and test error of a simpler predictor
    """

    quantity: str
    unit: str
    rows: NDArray[np.int64]
    test_mae: NDArray[np.float64]
    baselines: dict[str, tuple[int, float]]
    note: str = ""


@dataclass(frozen=True)
class Shown:
    """One molecule that the page draws, with what is known of it; in the property's unit.

    row         of the data set
    part        of the split
    reference   what was computed, NaN where it is not known
    prediction  what the network says, NaN where it says nothing
    relevance   (n,) for each atom of ``molecule``; empty where it was not explained
    own_terms   (n,) what each atom's own biases, steps and reference of its element add to it
    share       (n,) what the physics assigns to each atom; empty where that is not known
    ledger      name -> what went to no atom (bias, epsilon, mean, reference, ...)
    cancellation   size of the explanation's parts over that of their sum
    groups      functional groups and rings that it has
    dipole, beta   (3,) in the frame of its geometry, empty where they were not computed

    prediction = sum of relevance + sum of ledger, to rounding.
    """

    molecule: Molecule
    row: int = -1
    part: str = ""
    reference: float = float("nan")
    prediction: float = float("nan")
    relevance: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    own_terms: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    share: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    ledger: dict[str, float] = field(default_factory=dict)
    cancellation: float = float("nan")
    groups: tuple[str, ...] = ()
    dipole: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    beta: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))


@dataclass(frozen=True)
class Explanation:
    """The relevances of a data set, over all of its molecules.

    rule          name of the rule by which relevance was handed back
    molecules     how many there are in all
    closure       largest |prediction - atoms - ledger| / max(1, |prediction|) of all molecules
    terms         what the names in the ledgers mean
    cancellation  (N,) of each molecule, NaN where it was not explained
    """

    quantity: str
    unit: str
    rule: str
    molecules: int
    closure: float
    terms: dict[str, str] = field(default_factory=dict)
    cancellation: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))


@dataclass(frozen=True)
class Utilization:
    """How the ranks' time was used.

    ranks    names of R ranks
    edges    (T + 1,) seconds of work, bins between them
    busy     (R, T) part of each bin inside calculations
    of       how many ranks there were in all
    """

    ranks: tuple[str, ...]
    edges: NDArray[np.float64]
    busy: NDArray[np.float64]
    of: int


@dataclass(frozen=True)
class Residuals:
    """Errors of a property's predictions on one part, sorted into kinds of molecules.

    kinds   name -> (n,) predicted less computed
    """

    title: str
    part: str
    unit: str
    kinds: dict[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Averages:
    """A mean for each kind of atom or group, with the spread between its members.

    per      what is averaged: "atom", or "group" (the sum over its atoms)
    shares   what the physics assigns to the same kinds, where it is known
    """

    title: str
    unit: str
    per: str
    names: tuple[str, ...]
    counts: NDArray[np.int64]
    mean: NDArray[np.float64]
    spread: NDArray[np.float64]
    shares: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class Table:
    """Rows of text under a heading; ``note`` says how to read them.

    bars    a number for some rows, to be drawn beside them: (name, number)
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    bars: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class ScoreLine:
    """One score with its 95 % interval; kind is "network", "control" or "ceiling"."""

    name: str
    kind: str
    score: float
    low: float
    high: float


@dataclass(frozen=True)
class Reasons:
    """The reasons score with its 95 % interval on one part of the split, and the table behind.

    lines    the same score of controls and ceilings, the network's first
    """

    part: str
    correlation: float
    low: float
    high: float
    table: Table
    lines: tuple[ScoreLine, ...] = ()


@dataclass(frozen=True)
class Removal:
    """Mean change of the prediction, in ``unit``, while atoms are taken away.

    fraction   (K,) of each molecule's atoms taken away
    curves     order of removal -> mean change, its lower and its upper bound, (K,) each
    """

    unit: str
    fraction: NDArray[np.float64]
    curves: dict[str, tuple[NDArray[np.float64], ...]]


@dataclass(frozen=True)
class Trust:
    """How many checks of an explanation passed, failed and were left open, and each of them."""

    passed: int
    failed: int
    left_open: int
    table: Table
    warning: str = ""
    removal: Removal | None = None


@dataclass(frozen=True)
class Failed:
    """A molecule that could not be computed."""

    name: str
    cause: str
    message: str


@dataclass(frozen=True)
class Carried:
    """What the leading directions of a network's vectors carry.

    level     "atoms" or "molecules"
    vectors   how many there are
    shares    of the variance along each direction
    labels    adjusted R2 of some labels: (name, R2 of each direction)
    """

    level: str
    vectors: int
    shares: tuple[float, ...]
    labels: tuple[tuple[str, tuple[float, ...]], ...]


@dataclass(frozen=True)
class Inside:
    """A look into the network: directions of its vectors, and the tables beside them."""

    carried: tuple[Carried, ...]
    tables: tuple[Table, ...]


@dataclass(frozen=True)
class ReportFacts:
    """Everything on the page.  What is empty or None is said to be missing, not left out.

    properties   what was computed of every molecule
    names        row of the data set -> its molecule, of the rows that are named on the page
    comparisons  what the network's error is held against
    residuals    of the first property, by size and by element
    gallery      molecules that are drawn; a sample where there are many
    worth        atomic number -> what least squares gives an atom, of what is explained
    provenance   heading -> name -> value: level of theory, versions, settings
    seconds      stage -> wall time
    settings     the campaign's TOML as resolved
    """

    title: str
    level: str = ""
    computed: int = 0
    failures: tuple[Failed, ...] = ()
    properties: tuple[Computed, ...] = ()
    names: dict[int, str] = field(default_factory=dict)
    predictions: tuple[Predictions, ...] = ()
    curve: Curve | None = None
    learning: LearningCurve | None = None
    comparisons: tuple[Table, ...] = ()
    explanation: Explanation | None = None
    residuals: tuple[Residuals, ...] = ()
    gallery: tuple[Shown, ...] = ()
    worth: dict[int, float] = field(default_factory=dict)
    utilization: Utilization | None = None
    averages: tuple[Averages, ...] = ()
    reasons: Reasons | None = None
    tables: tuple[Table, ...] = ()
    trust: Trust | None = None
    inside: Inside | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    provenance: dict[str, dict[str, str]] = field(default_factory=dict)
    settings: str = ""
