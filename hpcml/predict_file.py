"""A trained network's word on molecules from outside, with a warning where it reaches too far."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np

from hpcml.errors import InputError, SettingsError
from hpcml.models import Network, collate, example
from hpcml.molecules import Defect, Molecule, read
from hpcml.relevance import LEDGER, ExplainSettings, explain_by
from hpcml.relevance.explain_settings import AUTO
from hpcml.relevance.rule_choice import read_calibration
from hpcml.store import Dataset
from hpcml.training import Ensemble, applicability, levels, load_ensemble
from hpcml.training.model_folder import ModelFolder

_UNCALIBRATED = "gamma"  # no rule did better on all networks that were measured


def predict_file(
    model_folder: Path, source: Path, *, explain: bool, rule: str = AUTO
) -> tuple[str, list[str]]:
    """Predictions for the molecules of a file or a data set.

    Returns (CSV text, one line for each molecule that has none).  Columns: name, key, one of each
    target headed by "label [unit]", for an ensemble (whose mean it is) also one of each headed by
    "uncertainty label [unit]" (one standard deviation, calibrated), the level of theory that was
    learned, and warnings (applicability).  With ``explain`` also the rule and, for the first target
    and in its unit, what the ledger holds beside the atoms, and the relevance of each atom as
    "C:1.25 H:0.31 ..." in the molecule's own order.

    rule    by which it is explained; "auto" is that which was found for this network
            (``hpcml calibrate``), and gamma where nobody has looked

    Raises SettingsError for a rule that does not exist.
    """
    settings = _explain_settings(model_folder, rule)
    ensemble = load_ensemble(model_folder)
    info = ensemble.info
    targets = [f"{label} [{unit}]" for label, unit in zip(info.labels, info.units, strict=True)]
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(
        [
            *("name", "key", *targets),
            *(f"uncertainty {target}" for target in targets if ensemble.factors is not None),
            *("level", *(["rule"] if explain else []), "warnings"),
            *([*LEDGER, "relevance"] if explain else []),
        ]
    )
    failed: list[str] = []
    for record, level in _records(source):
        if isinstance(record, Defect):
            failed.append(str(record))
            continue
        name = record.name or record.formula
        try:
            row: list[object] = [name, record.key]
            for values in ensemble.predict([record]):
                row += [] if values is None else [f"{value:.6g}" for value in values[0]]
            row += [info.level, *([settings.rule] if explain else [])]
            row.append("; ".join(applicability(info, record, level)))
            if explain:
                row += _explained(ensemble, record, settings)
        except InputError as error:
            failed.append(f"{source}: {name}: {error}")
            continue
        table.writerow(row)
    return text.getvalue(), failed


def _records(source: Path) -> Iterator[tuple[Molecule | Defect, str]]:
    """Molecules of a file or a data set, each with the level of its values where it has any."""
    if not source.is_dir():
        yield from ((record, "") for record in read(source))
        return
    dataset = Dataset.open(source)
    yield from zip(dataset.molecules, levels(dataset), strict=True)


def _explain_settings(model_folder: Path, rule: str) -> ExplainSettings:
    """Settings with the rule of this name."""
    if rule == AUTO:
        kept = read_calibration(ModelFolder(model_folder))
        rule = _UNCALIBRATED if kept is None else kept.rule
    try:
        return msgspec.convert({"rule": rule}, ExplainSettings)
    except msgspec.ValidationError as error:
        raise SettingsError(str(error)) from None


def _explained(ensemble: Ensemble, molecule: Molecule, settings: ExplainSettings) -> list[object]:
    """The ledger's terms, and each atom's relevance in words; of an ensemble the members' mean."""
    found = [_explained_by(model, molecule, settings) for model in ensemble.models]
    ledger = np.mean([one for one, _ in found], axis=0)
    atoms = np.mean([one for _, one in found], axis=0)
    words = [f"{s}:{value:.5g}" for s, value in zip(molecule.symbols, atoms, strict=True)]
    return [*(f"{value:.6g}" for value in ledger), " ".join(words)]


def _explained_by(
    model: Network, molecule: Molecule, settings: ExplainSettings
) -> tuple[np.ndarray, np.ndarray]:
    """One network's ledger, and (n,) relevance of the atoms."""
    dtype = next(model.parameters()).dtype
    batch = collate([example(molecule, model.inputs)], dtype)
    found = explain_by(model, batch, settings)
    return found.ledger.cpu().numpy()[0], found.atoms.cpu().numpy()
