"""The facts that the page shows, as plain numbers and words: no file is read here."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from hpcml.molecules import Molecule
from hpcml.training.model_folder import PARTS


@dataclass(frozen=True)
class Predictions:
    """One property of N molecules: computed and predicted, in ``unit``.

    parts       (N,) text, the part of the split; ``PARTS`` are known
    reference   (N,) what was computed, NaN where a molecule has no value
    predicted   (N,) what the network says
    """

    quantity: str
    unit: str
    parts: NDArray[np.str_]
    reference: NDArray[np.float64]
    predicted: NDArray[np.float64]

    @property
    def known(self) -> Predictions:
        """Those of molecules that have a value."""
        known = np.isfinite(self.reference)
        return replace(
            self,
            parts=self.parts[known],
            reference=self.reference[known],
            predicted=self.predicted[known],
        )


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
class Explained:
    """One prediction taken apart, in the property's unit.

    relevance   (n,) for each atom of ``molecule``
    ledger      name -> what went to no atom (bias, epsilon, mean, reference, ...)

    prediction = sum of relevance + sum of ledger, to rounding.
    """

    molecule: Molecule
    part: str
    reference: float
    prediction: float
    relevance: NDArray[np.float64]
    ledger: dict[str, float]


@dataclass(frozen=True)
class Explanation:
    """The relevances of a data set: some molecules to be drawn, and the ledger of all.

    rule        name of the rule by which relevance was handed back
    drawn       molecules to show, in the order to show them
    molecules   how many there are in all
    closure     largest |prediction - atoms - ledger| / max(1, |prediction|) of all molecules
    terms       what the names in the ledgers mean
    """

    quantity: str
    unit: str
    rule: str
    drawn: tuple[Explained, ...]
    molecules: int
    closure: float
    terms: dict[str, str] = field(default_factory=dict)


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
    """Rows of text under a heading; ``note`` says how to read them."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


@dataclass(frozen=True)
class Reasons:
    """The reasons score with its 95 % interval on one part of the split, and the table behind."""

    part: str
    correlation: float
    low: float
    high: float
    table: Table


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

    comparisons  what the network's error is held against
    provenance   heading -> name -> value: level of theory, versions, settings
    seconds      stage -> wall time
    settings     the campaign's TOML as resolved
    """

    title: str
    level: str = ""
    computed: int = 0
    failures: tuple[Failed, ...] = ()
    predictions: tuple[Predictions, ...] = ()
    curve: Curve | None = None
    learning: LearningCurve | None = None
    comparisons: tuple[Table, ...] = ()
    explanation: Explanation | None = None
    averages: tuple[Averages, ...] = ()
    reasons: Reasons | None = None
    tables: tuple[Table, ...] = ()
    trust: Trust | None = None
    inside: Inside | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    provenance: dict[str, dict[str, str]] = field(default_factory=dict)
    settings: str = ""


@dataclass(frozen=True)
class Errors:
    """Errors of one part of the split, beside those of a predictor that says the training mean."""

    part: str
    molecules: int
    mae: float
    rmse: float
    r2: float
    mean_predictor_mae: float


def errors(predictions: Predictions) -> tuple[Errors, ...]:
    """Errors of every part of the split that has rows, in the property's unit.

    R2 is 1 - sum of squared errors / sum of squares about the part's own mean; NaN where that
    vanishes.  The mean predictor says the mean of the training rows (of all, if there are none).
    """
    predictions = predictions.known
    training = predictions.reference[predictions.parts == "train"]
    mean = float((training if training.size else predictions.reference).mean())
    found = []
    for part in PARTS:
        chosen = predictions.parts == part
        if not chosen.any():
            continue
        reference, predicted = predictions.reference[chosen], predictions.predicted[chosen]
        squares = float(((reference - reference.mean()) ** 2).sum())
        residual = predicted - reference
        found.append(
            Errors(
                part=part,
                molecules=int(chosen.sum()),
                mae=float(np.abs(residual).mean()),
                rmse=float(np.sqrt((residual**2).mean())),
                r2=1.0 - float((residual**2).sum()) / squares if squares > 0 else float("nan"),
                mean_predictor_mae=float(np.abs(reference - mean).mean()),
            )
        )
    return tuple(found)
