"""A trained network's word on molecules from outside, with a warning where it reaches too far."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
from torch import nn

from hpcml.errors import InputError
from hpcml.models import collate, example
from hpcml.molecules import Defect, Molecule, read
from hpcml.relevance import LEDGER, ExplainSettings, explain_by
from hpcml.training import applicability, load_model, predict


def predict_file(model_folder: Path, source: Path, *, explain: bool) -> tuple[str, list[str]]:
    """Predictions for the molecules of a file: (CSV text, one line for each that has none).

    Columns: name, key, one of each target headed by "label [unit]", warnings (applicability).
    With ``explain`` also, for the first target and in its unit, what the ledger holds beside the
    atoms, and the relevance of each atom as "C:1.25 H:0.31 ..." in the molecule's own order.
    """
    model, info = load_model(model_folder)
    header = ["name", "key"]
    header += [f"{target} [{unit}]" for target, unit in zip(info.targets, info.units, strict=True)]
    header += ["warnings", *([*LEDGER, "relevance"] if explain else [])]
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(header)
    failed: list[str] = []
    for record in read(source):
        if isinstance(record, Defect):
            failed.append(str(record))
            continue
        try:
            values = predict(model, [record])[0]
            row: list[object] = [record.name or record.formula, record.key]
            row += [f"{value:.6g}" for value in values]
            row.append("; ".join(applicability(info, record)))
            if explain:
                row += _explained(model, record)
        except InputError as error:
            failed.append(f"{source}: {record.name or record.formula}: {error}")
            continue
        table.writerow(row)
    return text.getvalue(), failed


def _explained(model: nn.Module, molecule: Molecule) -> list[object]:
    """The ledger's terms, and each atom's relevance in words."""
    dtype = next(model.parameters()).dtype
    batch = collate([example(molecule, model.inputs)], dtype)  # type: ignore[arg-type]
    found = explain_by(model, batch, ExplainSettings())
    ledger = np.asarray(found.ledger.cpu())[0]
    atoms = found.atoms.cpu().numpy()
    words = [f"{s}:{value:.5g}" for s, value in zip(molecule.symbols, atoms, strict=True)]
    return [*(f"{value:.6g}" for value in ledger), " ".join(words)]
