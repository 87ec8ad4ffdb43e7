"""``hpcml plot``: a figure of a run, into a file that a journal takes."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np

from hpcml.cluster.run_folder import RunFolder
from hpcml.errors import InputError, SettingsError
from hpcml.report import paper_figures
from hpcml.report.analysis_tables import reasons
from hpcml.report.collect import predictions_of, units_of
from hpcml.report.learning import learning_curve
from hpcml.report.paper_molecule import relevance
from hpcml.report.run_files import Columns
from hpcml.report.words import pretty_unit
from hpcml.store import Dataset
from hpcml.training.model_folder import ModelFolder

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

KINDS = {
    "parity": "predicted against computed values",
    "learning": "test error over the size of the training set",
    "relevance": "one molecule, its atoms coloured by relevance and by share",
    "reasons": "the reasons score beside its controls and ceilings",
    "distances": "relevance of pairs of atoms by their distance",
}
ENDINGS = ("pdf", "svg", "png")


def ending(path: Path) -> str:
    """The kind of file that a path asks for; SettingsError where it is none of ours."""
    found = path.suffix.removeprefix(".").lower()
    if found not in ENDINGS:
        raise SettingsError(
            f"{path}: expected a name that ends in {', '.join(f'.{each}' for each in ENDINGS)}"
        )
    return found


def plot(
    kind: str,
    run: RunFolder,
    dataset: Path,
    *,
    form: str = "pdf",
    width: str = "single",
    molecule: str = "",
    target: str = "",
) -> bytes:
    """The figure as a file's contents, the same bytes each time.

    kind        of ``KINDS``
    form        of ``ENDINGS``
    width       of ``paper_figures.WIDTHS``
    molecule    name or key, of the kind relevance
    target      label of the property, where a network has several; the first unless given

    Raises InputError, with the command that makes what is missing.
    """
    with mpl.rc_context(paper_figures.STYLE):
        if kind == "relevance":
            drawn = _relevance(run, dataset, molecule, width)
        elif kind == "reasons":
            found = reasons(run.analysis)
            if found is None:
                raise InputError(
                    f"{run.analysis}: no reasons.csv here: hpcml analyze makes it where the data "
                    "set has shares of the target"
                )
            drawn = paper_figures.reasons(found.lines, found.part, width)
        elif kind == "distances":
            drawn = _distances(run, dataset, width)
        else:
            drawn = _of_network(kind, run, dataset, width, target)
        metadata = {"pdf": {"CreationDate": None}, "svg": {"Date": None}, "png": {}}[form]
        buffer = io.BytesIO()
        drawn.savefig(buffer, format=form, metadata=metadata)
    return buffer.getvalue()


def _of_network(kind: str, run: RunFolder, dataset: Path, width: str, target: str) -> Figure:
    """Parity, or the learning curve, of one of the network's targets."""
    model = ModelFolder(run.model)
    units = units_of(model)
    labels = {one.label: one for one in units}
    if not labels:
        raise InputError(f"{run.path}: no network here yet: hpcml train")
    if target and target not in labels:
        raise InputError(f"{model.path}: did not learn {target!r}, it has {', '.join(labels)}")
    chosen = labels[target] if target else next(iter(units))
    if kind == "parity":
        data = Dataset.open(dataset)
        return paper_figures.parity(predictions_of(model, units, data)[chosen], width)
    curve = learning_curve(model, units)
    if curve is None:
        raise InputError(f"{model.path}: no learning_curve.csv here: set train_sizes in [train]")
    return paper_figures.learning(curve, width)


def _relevance(run: RunFolder, dataset: Path, molecule: str, width: str) -> Figure:
    from hpcml.relevance.relevance_rows import open_relevance

    data = Dataset.open(dataset)
    rows = open_relevance(run.relevance, data)
    row = _row(data, molecule)
    one = rows[row]
    if not np.isfinite(one.prediction):
        raise InputError(f"{molecule}: this molecule could not be explained")
    panels: dict[str, NDArray[np.float64]] = {f"relevance ({rows.rule})": one.atoms}
    if np.abs(one.atom_ledger).max(initial=0.0) > 0:
        panels["with the atom's own terms"] = one.booked
    if rows.target.is_static and rows.target.share_name in data.columns:
        panels["share of the physics"] = data.value(rows.target.share_name, row)
    if width == "single":
        panels = dict(list(panels.items())[:: max(1, len(panels) - 1)])
    return relevance(data.molecules[row], panels, pretty_unit(rows.unit), width)


def _row(data: Dataset, molecule: str) -> int:
    names = data.texts("name")
    if molecule in names:
        return names.index(molecule)
    keys = data.keys.tolist()
    if molecule in keys:
        return int(keys.index(molecule))
    raise InputError(
        f"{data.folder}: no molecule {molecule!r} here; the first are {', '.join(names[:3])}"
        if molecule
        else "say which molecule: --molecule NAME"
    )


def _distances(run: RunFolder, dataset: Path, width: str) -> Figure:
    from hpcml.relevance.relevance_rows import open_relevance

    columns = Columns(run.analysis / "distances.csv")
    if not columns:
        raise InputError(
            f"{run.analysis}: no distances.csv here: set pairs in [explain], then hpcml explain "
            "and hpcml analyze"
        )
    ends = np.stack([columns.numbers("from"), columns.numbers("to")], axis=1)
    unit = pretty_unit(open_relevance(run.relevance, Dataset.open(dataset)).unit)
    mean, size = (columns.numbers(f"relevance_mean{which}") for which in ("", "_absolute"))
    return paper_figures.distances(ends, mean, size, unit, width)
