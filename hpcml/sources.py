"""What a campaign starts from: its molecules, or a data set that is there already."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from hpcml.cluster import RunFolder
from hpcml.errors import SettingsError

if TYPE_CHECKING:
    from hpcml.config import Campaign
    from hpcml.molecules import Defect, Molecule


def molecules(campaign: Campaign) -> list[Molecule | Defect]:
    """The records of the campaign's source, as many as its limit allows.

    The source is a file of molecules, or the folder of a data set, whose molecules are taken.
    """
    from hpcml.molecules import read
    from hpcml.store import Dataset

    if campaign.molecules is None:
        raise SettingsError(f"campaign {campaign.name}: has a data set and no [molecules]")
    source = Path(campaign.molecules.source)
    records: Iterable[Molecule | Defect]
    records = Dataset.open(source, verified=True).molecules if source.is_dir() else read(source)
    return list(islice(records, campaign.molecules.limit or None))


def dataset_path(campaign: Campaign, run_folder: RunFolder) -> Path:
    """The data set that later stages read: the run's own, or the one that was given."""
    return Path(campaign.dataset) if campaign.dataset else run_folder.dataset
