"""What several networks together say each atom was worth: the members' mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpcml.models import Batch, Network
from hpcml.relevance.comparators import explain_by
from hpcml.relevance.explain_settings import ExplainSettings

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class MeanRelevance:
    """Means over the members, of M molecules with A atoms, in the target's unit.

    prediction   (M,)
    ledger       (M, len(LEDGER)) what went to no input
    atoms        (A,) relevance of each atom
    booked       (A,) the same with what its own biases, steps and reference say
    """

    prediction: Array
    ledger: Array
    atoms: Array
    booked: Array


def mean_relevance(
    models: Sequence[Network], batch: Batch, settings: ExplainSettings, *, target: int = 0
) -> MeanRelevance:
    """Explain a batch by each of the networks; raises what ``explain_by`` raises."""
    found = [explain_by(model, batch, settings, target=target) for model in models]

    def mean(name: str) -> Array:
        values = [getattr(one, name).detach().double().cpu().numpy() for one in found]
        return np.asarray(np.mean(values, axis=0))

    return MeanRelevance(mean("prediction"), mean("ledger"), mean("atoms"), mean("booked"))
