"""What is wrong with a campaign, found before anything is computed: all of it at once.

Each stage's record names the function here that looks at what the stage needs; ``examine`` adds
what every stage needs.  Nothing is written.
"""

from __future__ import annotations

import math
import os
import shutil
import warnings
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from hpcml.cluster import RunFolder
from hpcml.errors import HpcmlError, InputError, InputWarning, PlatformError, SettingsError
from hpcml.sources import dataset_path, molecules

if TYPE_CHECKING:
    from hpcml.config import Campaign
    from hpcml.molecules import Defect, Molecule
    from hpcml.response.engine import Faults
    from hpcml.store import Schema

_BYTES_A_MOLECULE, _BYTES_AN_ATOM = 8000, 200  # of a row: journal, shard, log lines
_LEAST_FREE = 50_000_000  # for settings, logs, checkpoints
_MOST_PERCEIVED = 20_000  # molecules whose bonds are worth perceiving before anything begins
_MATRICES = 40  # of n x n functions that a response calculation holds at the least


class Finding(msgspec.Struct, frozen=True):
    """One thing that is wrong.

    key     the campaign's key that is to be changed ("train.model"), or what it is about
    stops   nothing could be computed; otherwise some molecules would fail
    """

    key: str
    words: str
    stops: bool = True

    def __str__(self) -> str:
        return f"{self.key}: {self.words}"


def examine(campaign: Campaign, run_folder: RunFolder) -> Iterator[Finding]:
    """What every stage needs: programs and folders of the site, and room on the disk."""
    site = campaign.site
    if site.kind == "local" and shutil.which(site.launcher) is None:
        yield Finding("site.launcher", f"{site.launcher} is not on the path here")
    if site.scratch and site.kind != "slurm" and not os.access(site.scratch, os.W_OK | os.X_OK):
        yield Finding("site.scratch", f"{site.scratch} is no folder that can be written to")
    installed = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 10**6
    ranks = max(1, site.ranks_per_node)
    if site.kind == "local" and ranks * site.memory_mb > installed:
        yield Finding(
            "site.memory_mb",
            f"{ranks} x {site.memory_mb} MB are more than the {installed} MB of this machine",
            stops=False,
        )
    folder = _existing(run_folder.path)
    if not os.access(folder, os.W_OK | os.X_OK):
        yield Finding("--run", f"{folder} cannot be written to: give another folder")
    elif (free := shutil.disk_usage(folder).free) < _LEAST_FREE:
        yield Finding("--run", f"{folder} has {free / 1e6:.0f} MB left: free some space")


def _existing(path: Path) -> Path:
    """The folder itself, or the nearest above it that is there."""
    return next(each for each in (path, *path.parents) if each.is_dir())


# --- generate --------------------------------------------------------------------------------


def check_generate(campaign: Campaign, run_folder: RunFolder) -> Iterator[Finding]:
    """Molecules that can be read; a level that the engine knows for their elements."""
    assert campaign.level is not None and campaign.molecules is not None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", InputWarning)  # told when they are read to be computed
            found = _Met(molecules(campaign))
    except (InputError, SettingsError) as error:
        yield Finding("molecules.source", str(error))
        return
    if not found.readable:
        first = f"; the first: {found.first_defect}" if found.defects else ""
        yield Finding(
            "molecules.source",
            f"{campaign.molecules.source} holds no molecule that can be used{first}",
        )
        return
    if found.defects:
        yield Finding(
            "molecules.source",
            f"{found.defects} of {found.defects + found.readable} records hold no molecule that "
            f"can be used; the first: {found.first_defect}",
            stops=False,
        )
    elements = sorted({number for numbers in found.compositions for number in numbers})
    try:
        from hpcml.response.level_faults import level_faults

        faults = level_faults(campaign.level, tuple(elements))
    except PlatformError as error:
        if campaign.site.kind != "slurm":  # a login node need not have what the nodes have
            yield Finding("level", str(error))
    else:
        if faults.program:
            there = campaign.site.kind != "slurm"
            yield Finding("level.method", faults.program, stops=there)
        yield from _level_findings(faults, found, campaign.level.basis)
        if not faults.basis:
            yield from _memory_findings(campaign, found)
    needed = _BYTES_A_MOLECULE * found.readable + _BYTES_AN_ATOM * found.atoms
    folder = _existing(run_folder.path)
    free = shutil.disk_usage(folder).free
    if free < needed:
        yield Finding(
            "--run",
            f"{folder} has {free / 1e6:.0f} MB left, {found.readable} molecules take about "
            f"{needed / 1e6:.0f} MB: free some space",
        )


class _Met:
    """What a source holds, gone through once: nothing of it is kept but what differs.

    compositions   atomic numbers in order, as bytes -> molecules with these atoms, and the first
    """

    def __init__(self, records: Iterable[Molecule | Defect]) -> None:
        from hpcml.molecules import Molecule

        self.readable = self.defects = self.atoms = 0
        self.first_defect: Defect | None = None
        self.compositions: dict[bytes, tuple[int, Molecule]] = {}
        for record in records:
            if not isinstance(record, Molecule):
                self.defects += 1
                self.first_defect = self.first_defect or record
                continue
            self.readable += 1
            self.atoms += len(record)
            atoms = bytes(sorted(record.numbers.tolist()))
            count, first = self.compositions.get(atoms, (0, record))
            self.compositions[atoms] = count + 1, first


def _level_findings(faults: Faults, found: _Met, basis: str) -> Iterator[Finding]:
    if faults.method:
        yield Finding("level.method", faults.method)
    if faults.basis:
        yield Finding("level.basis", faults.basis)
    if faults.uncovered:
        gone = set(faults.uncovered)
        kinds = found.compositions.values()
        failing = sum(count for count, first in kinds if not gone.isdisjoint(first.symbols))
        yield Finding(
            "level.basis",
            f"{basis!r} has no functions for {', '.join(faults.uncovered)}: {failing} of "
            f"{found.readable} molecules cannot be computed",
            stops=failing == found.readable,
        )


def _memory_findings(campaign: Campaign, found: _Met) -> Iterator[Finding]:
    from hpcml.generation.plan.cost import size
    from hpcml.response.psi4.memory import BEYOND_PLAN, CODE_MB

    assert campaign.level is not None
    basis = campaign.level.basis
    functions, largest = max(
        ((size(first, basis), first) for _, first in found.compositions.values()),
        key=lambda pair: pair[0],
    )
    needed = CODE_MB + BEYOND_PLAN * 8e-6 * _MATRICES * functions**2
    if needed > campaign.site.memory_mb:
        yield Finding(
            "site.memory_mb",
            f"{campaign.site.memory_mb} MB are too few for {largest.name or largest.formula} "
            f"({functions:.0f} basis functions), which takes at least "
            f"{math.ceil(needed / 100) * 100} MB",
            stops=False,
        )


# --- train, explain --------------------------------------------------------------------------


def check_train(campaign: Campaign, run_folder: RunFolder) -> Iterator[Finding]:
    """Settings of the training, and its targets in what the data set holds or will hold."""
    from hpcml.training.settings_check import faults

    assert campaign.train is not None
    try:
        schema = _schema(campaign, run_folder)
    except HpcmlError as error:
        yield Finding("dataset", str(error))
        schema = None
    for fault in faults(campaign.train, schema):
        key, _, words = fault.partition(": ")
        yield Finding(key, words)
    yield from _hold_out_findings(campaign, run_folder)
    largest = max(campaign.train.train_sizes, default=0)
    if largest and schema is not None and campaign.train.train <= 1:
        rows = math.ceil(campaign.train.train * _rows(campaign, run_folder))
        if largest >= rows:
            yield Finding(
                "train.train_sizes", f"{largest} is not less than the {rows} training rows"
            )


def _hold_out_findings(campaign: Campaign, run_folder: RunFolder) -> Iterator[Finding]:
    """What is to be held out of the test set's like, looked for in the molecules that there are.

    Not where the split is made already, nor in so many molecules that it takes long: then the
    training tells.
    """
    from hpcml.training.held_out import KINDS, holdable
    from hpcml.training.model_folder import ModelFolder

    settings = campaign.train
    assert settings is not None
    if settings.split not in KINDS or ModelFolder(run_folder.model).split.exists():
        return
    try:
        known = _molecules_learned(campaign, run_folder)
        if len(known) <= _MOST_PERCEIVED:
            holdable(settings.split, known).find(settings.hold_out)
    except SettingsError as error:
        key, _, words = str(error).partition(": ")
        yield Finding(key, words)
    except HpcmlError:
        return  # the data set's or the molecules' own fault, told by itself


def _molecules_learned(campaign: Campaign, run_folder: RunFolder) -> Sequence[Molecule]:
    """Of the data set that is given, or those that generate can compute."""
    from hpcml.molecules import Molecule
    from hpcml.store import Dataset

    if campaign.dataset is not None:
        return Dataset.open(dataset_path(campaign, run_folder)).molecules
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InputWarning)
        readable = (one for one in molecules(campaign) if isinstance(one, Molecule))
        return list(islice(readable, _MOST_PERCEIVED + 1))


def _rows(campaign: Campaign, run_folder: RunFolder) -> int:
    """How many the data set has, or can have once every molecule is computed."""
    from hpcml.molecules import Molecule
    from hpcml.store import Dataset

    if campaign.dataset is not None:
        return len(Dataset.open(dataset_path(campaign, run_folder)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InputWarning)
        return sum(isinstance(one, Molecule) for one in molecules(campaign))


def _schema(campaign: Campaign, run_folder: RunFolder) -> Schema:
    """Of the data set that is given, or of the one that generate will make."""
    from hpcml.store import Dataset, Schema

    if campaign.dataset is not None:
        return Dataset.open(dataset_path(campaign, run_folder)).schema
    return Schema.for_request(campaign.properties)


def check_explain(campaign: Campaign, _run_folder: RunFolder) -> Iterator[Finding]:
    """A target among those that are learned; the rule's name is known since the file was read."""
    assert campaign.explain is not None and campaign.train is not None
    if not campaign.explain.target:
        return
    try:
        labels = [target.label for target in campaign.train.targets]
    except SettingsError:
        return  # told by the training
    if campaign.explain.target not in labels:
        yield Finding(
            "explain.target",
            f"{campaign.explain.target!r} is not learned; there are {', '.join(labels)}",
        )
