"""What a campaign starts from: its molecules, or a data set that is there already."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from hpcml.cluster import RunFolder
from hpcml.errors import SettingsError

if TYPE_CHECKING:
    from hpcml.config import Campaign
    from hpcml.molecules import Defect, Molecule


class Records:
    """The records of a source, read anew each time that they are gone through, and never held."""

    def __init__(self, source: Path, limit: int = 0) -> None:
        """InputError at once if there is no such source.  limit: so many at most; 0: all."""
        self._source = source
        self._limit = limit
        self._open()

    def __iter__(self) -> Iterator[Molecule | Defect]:
        return islice(iter(self._open()), self._limit or None)

    def _open(self) -> Iterable[Molecule | Defect]:
        from hpcml.molecules import read
        from hpcml.store import Dataset

        if self._source.is_dir():
            return Dataset.open(self._source, verified=True).molecules
        return read(self._source)


def molecules(campaign: Campaign) -> Records:
    """The records of the campaign's source, as many as its limit allows.

    The source is a file of molecules, or the folder of a data set, whose molecules are taken.
    """
    if campaign.molecules is None:
        raise SettingsError(f"campaign {campaign.name}: has a data set and no [molecules]")
    return Records(Path(campaign.molecules.source), campaign.molecules.limit)


def dataset_path(campaign: Campaign, run_folder: RunFolder) -> Path:
    """The data set that later stages read: the run's own, or the one that was given."""
    return Path(campaign.dataset) if campaign.dataset else run_folder.dataset
