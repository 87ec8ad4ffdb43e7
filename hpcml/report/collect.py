"""What the page tells of a run, gathered from the files in the run's folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from hpcml.cluster.run_folder import RunFolder
from hpcml.errors import InputError
from hpcml.generation import failures
from hpcml.relevance.ledger import LEDGER, relative_closure
from hpcml.relevance.relevance_rows import RelevanceRows, open_relevance
from hpcml.report.analysis_tables import averages, conservation, matched_pairs, reasons
from hpcml.report.computed_properties import properties
from hpcml.report.facts import (
    Curve,
    Explanation,
    Failed,
    Predictions,
    ReportFacts,
)
from hpcml.report.gallery import gallery, residuals
from hpcml.report.learning import Units, comparisons, labels_of, learning_curve
from hpcml.report.prediction_errors import by_atom_counts, element_worth
from hpcml.report.representation_section import inside
from hpcml.report.run_files import Columns, read_json, read_toml
from hpcml.report.trust_section import trust
from hpcml.report.utilization import utilization
from hpcml.report.words import LEDGER_WORDS, pretty_unit, quantity
from hpcml.store import Dataset
from hpcml.training.levels import distinct_levels, joined
from hpcml.training.metrics import per_target
from hpcml.training.model_folder import ModelFolder
from hpcml.training.targets import Target


def collect(run: RunFolder, dataset: Path) -> ReportFacts:
    """Facts of a run and of the data set it used; what is not there yet is left empty.

    InputError where there is no data set, or where a file is not as hpcml writes it.
    """
    data = Dataset.open(dataset, verified=True)
    shared = _shared(data)
    campaign = read_toml(run.campaign_toml)
    model = ModelFolder(run.model)
    metrics = read_json(model.metrics)
    units = units_of(model)
    predictions = predictions_of(model, units, data)
    computed = properties(data)
    rows = explanation = None
    if any(run.relevance.glob("manifest*")):
        rows = open_relevance(run.relevance, data)
        explanation = _explanation(rows)
    unit = explanation.unit if explanation else ""
    first = next(iter(predictions.values()), None)
    told_of = predictions.get(rows.target) if rows else first
    far = {row for one in computed for row in one.outliers}
    return ReportFacts(
        title=str(campaign.get("name", run.name)),
        level=joined(distinct_levels(data)),
        computed=len(data),
        failures=tuple(
            Failed(failure.name or failure.key, failure.cause, failure.message)
            for failure in failures.read(run.failures).values()
        ),
        properties=computed,
        names={row: _name(data, row) for row in far},
        predictions=tuple(predictions.values()),
        curve=_curve(model.curve, units),
        learning=learning_curve(model, units),
        comparisons=comparisons(model, units),
        explanation=explanation,
        residuals=residuals(first, data) if first else (),
        gallery=gallery(data, told_of, rows, far),
        worth=told_of.worth if rows and told_of and rows.target.is_extensive else {},
        utilization=utilization(run.work),
        averages=averages(run.analysis, unit),
        reasons=reasons(run.analysis),
        tables=conservation(run.analysis, unit) + matched_pairs(run.analysis),
        trust=trust(run.analysis, run.model, explanation.rule, unit) if explanation else None,
        inside=inside(run.analysis),
        seconds={
            stage: float(time) for stage, time in read_json(run.logs / "timings.json").items()
        },
        provenance=_provenance(data, shared, metrics, campaign),
        settings=run.campaign_toml.read_text() if run.campaign_toml.exists() else "",
    )


# ---- the network ----------------------------------------------------------------------------


def units_of(model: ModelFolder) -> Units:
    """The targets that a network learned, as training wrote them down; none where there is none."""
    metrics = read_json(model.metrics)
    try:
        return {
            msgspec.convert(found["target"], Target): pretty_unit(found["unit"])
            for found in metrics.get("errors", {}).values()
        }
    except (KeyError, TypeError, AttributeError, msgspec.ValidationError) as error:
        raise InputError(
            f"{model.metrics}: does not say what was learned as this version does ({error!r}): "
            "train again"
        ) from None


def predictions_of(model: ModelFolder, units: Units, data: Dataset) -> dict[Target, Predictions]:
    """For each target its Predictions, from predictions.csv, in the order of its lines."""
    columns = Columns(model.predictions)
    if not columns:
        return {}
    row_of = {key: row for row, key in enumerate(data.keys.tolist())}
    rows = np.array([row_of.get(key, -1) for key in columns.texts("key")])
    parts = np.array(columns.texts("part"))
    elements, counts = atom_counts(data)
    counts = counts[rows]
    found = {}
    names = (per_target(name, labels_of(units)) for name in ("reference", "predicted"))
    for (target, unit), reference, predicted in zip(units.items(), *names, strict=True):
        values = columns.numbers(reference)
        by_counts, worth = None, {}
        if not target.yes_or_no and (rows >= 0).all():
            training = parts == "train"
            by_counts = by_atom_counts(counts, values, training)
            fit = zip(elements, element_worth(counts, values, training).tolist(), strict=True)
            worth = {number: value for number, value in fit if np.isfinite(value)}
        found[target] = Predictions(
            quantity=quantity(target),
            unit=unit,
            parts=parts,
            reference=values,
            predicted=columns.numbers(predicted),
            by_counts=by_counts,
            rows=rows,
            worth=worth,
        )
    return found


def atom_counts(data: Dataset) -> tuple[list[int], NDArray[np.int64]]:
    """The atomic numbers of a data set's elements, and how many of each its molecules have.

    Returns
    -------
    list of E numbers, (N, E) integer array
    """
    elements, kind = np.unique(data.column("numbers"), return_inverse=True)
    molecule = np.repeat(np.arange(len(data)), np.diff(data.atom_offsets))
    flat = np.bincount(molecule * len(elements) + kind, minlength=len(data) * len(elements))
    return elements.tolist(), flat.reshape(len(data), len(elements))


def _name(data: Dataset, row: int) -> str:
    molecule = data.molecules[row]
    return molecule.name or molecule.formula


def _curve(path: Path, units: Units) -> Curve | None:
    """The training curve of the first target."""
    columns = Columns(path)
    if not columns or not units:
        return None
    return Curve(
        epochs=columns.numbers("epoch").astype(np.int64),
        loss=columns.numbers("train_loss"),
        validation_mae=columns.numbers(per_target("validation_mae", labels_of(units))[0]),
        unit=next(iter(units.values())),
    )


# ---- relevance ------------------------------------------------------------------------------


def _explanation(rows: RelevanceRows) -> Explanation:
    """How well the ledger of all molecules closes, and how much of it cancels."""
    explained = np.add.reduceat(rows.atoms, rows.offsets[:-1])
    gap = relative_closure(rows.prediction, explained, rows.ledger)
    known = np.isfinite(gap)
    used = np.flatnonzero(np.abs(rows.ledger[known]).max(axis=0, initial=0.0) > 0)
    return Explanation(
        quantity=quantity(rows.target),
        unit=pretty_unit(rows.unit),
        rule=rows.rule,
        molecules=int(known.sum()),
        closure=float(gap[known].max(initial=0.0)),
        terms=dict(LEDGER_WORDS[LEDGER[term]] for term in used),
        cancellation=rows.cancellation,
    )


# ---- where it came from ---------------------------------------------------------------------


def _shared(data: Dataset) -> dict[str, object]:
    """What the provenance of all rows has in common: level, program, integrals.

    Looked up in at most 50 rows, evenly chosen; tables within it are laid flat ("basis name").
    """
    rows = np.unique(np.linspace(0, len(data) - 1, min(len(data), 50)).round().astype(int))
    shared: dict[str, object] | None = None
    for row in rows.tolist():
        flat: dict[str, object] = {}
        for name, value in data[row].provenance.items():
            inner = value.items() if isinstance(value, dict) else [("", value)]
            flat.update({f"{name} {word}".strip(): each for word, each in inner})
        if shared is None:
            shared = {name: v for name, v in flat.items() if isinstance(v, str | int | float)}
        shared = {name: v for name, v in shared.items() if name in flat and flat[name] == v}
    return shared or {}


def _provenance(
    data: Dataset, shared: dict[str, object], metrics: dict[str, Any], campaign: dict[str, Any]
) -> dict[str, dict[str, str]]:
    shown = {
        "Calculations": {name.replace("_", " "): value for name, value in shared.items()},
        "Data set": {
            "rows": f"{len(data):,}",
            "shards": f"{len(data.shards):,}",
            "fingerprint": data.fingerprint,
        },
        "Network": {
            name: metrics[name]
            for name in ("model", "target", "parameters", "epochs", "ranks", "backend")
            if name in metrics
        },
        "Versions": campaign.get("versions", {}),
    }
    return {
        heading: {str(name): str(value) for name, value in values.items()}
        for heading, values in shown.items()
        if values
    }
