"""What each stage says when it has ended, in one line: how many, how good, where."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from hpcml.cluster import RunFolder
from hpcml.config import Campaign
from hpcml.sources import dataset_path


def of_generate(campaign: Campaign, run_folder: RunFolder) -> str:
    """Molecules done, failed and warned of, and the data set."""
    from hpcml.generation import status

    now = status(run_folder)
    failed = sum(now.failed.values())
    causes = ", ".join(f"{cause} {number}" for cause, number in now.failed.items())
    words = [f"{now.done:,} of {now.total:,} molecules"]
    words += [campaign.level.label] if campaign.level is not None else []
    words += [f"{failed:,} failed ({causes})" if failed else "none failed"]
    words += [f"{now.warned:,} with a warning"] if now.warned else []
    return f"{', '.join(words)}; in {shown(run_folder.dataset)}"


def of_train(_campaign: Campaign, run_folder: RunFolder) -> str:
    """The test error beside that of predicting the mean, and the network."""
    from hpcml.training.metrics import read_metrics
    from hpcml.training.model_folder import ModelFolder

    metrics = read_metrics(ModelFolder(run_folder.model)) or {}
    words = [
        f"{label} {_error(found)}"
        for label, found in metrics.get("errors", {}).items()
        if found.get("test", {}).get("mae") is not None
    ]
    rows = metrics.get("rows", {})
    words.append(
        f"{rows.get('train', 0):,} molecules to learn from, {rows.get('test', 0):,} to test"
    )
    return f"{metrics.get('model', 'network')}, {', '.join(words)}; in {shown(run_folder.model)}"


def _error(found: dict[str, dict[str, float]]) -> str:
    unit, mean = found.get("unit", ""), found.get("mean_predictor_mae")
    than = f" (the mean: {mean:.3g})" if isinstance(mean, float) else ""
    return f"test MAE {found['test']['mae']:.3g} {unit}{than}".replace("  ", " ")


def of_explain(campaign: Campaign, run_folder: RunFolder) -> str:
    """Molecules explained, by which rule, how well the ledger closes, and the relevances."""
    from hpcml.relevance import open_relevance
    from hpcml.relevance.ledger import relative_closure
    from hpcml.store import Dataset

    rows = open_relevance(run_folder.relevance, Dataset.open(dataset_path(campaign, run_folder)))
    molecule = np.repeat(np.arange(len(rows)), np.diff(rows.offsets))
    sums = np.bincount(molecule, rows.atoms, len(rows)).astype(np.float64)
    gap = relative_closure(rows.prediction, sums, rows.ledger)
    known = np.isfinite(gap)
    left = f", {int((~known).sum()):,} cannot be" if not known.all() else ""
    return (
        f"{int(known.sum()):,} of {len(rows):,} molecules explained{left}, rule {rows.rule}, "
        f"the sums close to {gap[known].max(initial=0.0):.1g}; in {shown(run_folder.relevance)}"
    )


def of_analyze(_campaign: Campaign, run_folder: RunFolder) -> str:
    """The scores that there are, how many tables, and where."""
    from hpcml.analysis import summary

    scores = summary(run_folder.analysis)
    tables = len(list(run_folder.analysis.glob("*.csv")))
    return "; ".join([*scores, f"{tables} tables in {shown(run_folder.analysis)}"])


def of_report(_campaign: Campaign, run_folder: RunFolder) -> str:
    """The page and its size."""
    page = run_folder.report_page
    return f"a page of {page.stat().st_size / 1e6:.1f} MB; open {shown(page)}"


def shown(path: Path) -> str:
    """A path as short as it can be pasted: from here where it lies below, else whole."""
    here = Path.cwd()
    return os.path.relpath(path, here) if path.is_relative_to(here) else str(path)
