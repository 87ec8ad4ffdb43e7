"""What the cells that are missing will take, from those that are finished or a few timed steps."""

from __future__ import annotations

import time
from math import ceil

import numpy as np

from hpcml.errors import HpcmlError
from hpcml.store import Dataset
from hpcml.study.cells import UNTRAINED, Cell, settings_of
from hpcml.study.results import StudyFolder
from hpcml.study.study_settings import Study

_TIMED = 3  # steps


def told_cost(
    study: Study, folder: StudyFolder, cells: list[Cell], missing: list[Cell]
) -> list[str]:
    """Lines: for each network how many cells are missing, and about how long they take."""
    finished: dict[str, list[float]] = {}
    for result in folder.results(cells):
        if result.cell.kind != UNTRAINED:
            took = result.train_seconds + result.explain_seconds
            finished.setdefault(result.cell.network, []).append(took)
    lines, total = [], 0.0
    for network in study.networks:
        left = [c for c in missing if c.network == network and c.kind != UNTRAINED]
        if not left:
            continue
        if network in finished:
            each, how = float(np.mean(finished[network])), "as those that are finished"
        else:
            try:
                each, how = seconds_of(study, left[0]), "the training alone, by a few timed steps"
            except HpcmlError as error:
                lines.append(f"{network}: {len(left)} cells, cost not known: {error}")
                continue
        total += each * len(left)
        lines.append(f"{network}: {len(left)} cells of about {each:.3g} s each ({how})")
    if lines:
        lines.append(f"about {total / 60.0:.3g} minutes in one program, {study.parts} parts")
    return lines


def seconds_of(study: Study, cell: Cell) -> float:
    """Of a cell's training on one rank, by the time of a few steps here.

    Raises InputError where there is nothing to learn from, SettingsError for a split that the
    rows do not fit.
    """
    import torch

    from hpcml.models import build, collate, example, fit_scaling
    from hpcml.training.data import find_candidates
    from hpcml.training.splits import part_sizes

    settings, target = settings_of(study, cell), study.target(cell.target)
    dataset = Dataset.open(study.dataset_of(target))
    candidates = find_candidates(dataset, [target.target], settings.leave_out, settings.within)
    rows = candidates.rows.molecules[: min(settings.batch_size, len(candidates.rows))]
    inputs = build(settings.model, settings.hyperparameters).inputs
    examples = [example(molecule, inputs) for molecule in rows]
    scaling = fit_scaling(
        [one.numbers for one in examples],
        candidates.values[: len(rows)],
        extensive=target.is_extensive,
        references=None,
    )
    model = build(settings.model, settings.hyperparameters, scaling=scaling)
    torch.set_num_threads(settings.threads)
    times = []
    for _ in range(_TIMED):
        began = time.perf_counter()
        model(collate(examples)).square().mean().backward()
        times.append(time.perf_counter() - began)
    learned = part_sizes(settings, len(candidates.rows))[0]
    steps = settings.epochs * settings.passes * ceil(learned / settings.batch_size)
    return min(times) * steps
