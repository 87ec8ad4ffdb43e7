"""The rule that "auto" stands for: chosen once for each network and target of a study."""

from __future__ import annotations

import msgspec

from hpcml.errors import InputError
from hpcml.files import make_folder, write_whole
from hpcml.relevance import ExplainSettings
from hpcml.relevance.calibration import calibrate
from hpcml.study.cells import NETWORK, Cell
from hpcml.study.material import Material
from hpcml.training.run import from_rank_0


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """The rule chosen for a network and a target, and why; "" where none is better than chance.

    cell    whose network it was chosen for
    """

    rule: str
    reason: str
    cell: str


def chosen_rule(material: Material, cell: Cell) -> str:
    """The rule's name, on all ranks; rank 0 finds it where it is not found yet.

    The first network of its kind that is trained decides: that of the first seed on the largest
    training set.  Raises InputError where no rule tells its reasons better than chance, or no
    network of the kind has been trained.
    """
    path = material.folder.rules / f"{cell.network}-{cell.target_word}.json"

    def find() -> bytes:
        if path.exists():
            return path.read_bytes()
        if cell.kind != NETWORK:
            return msgspec.json.encode(
                Choice(rule="", reason="no network was trained to choose a rule by", cell="")
            )
        choice = msgspec.json.encode(_calibrated(material, cell))
        make_folder(path.parent)
        write_whole(path, choice)
        return choice

    choice = msgspec.json.decode(from_rank_0(material.world, find), type=Choice)
    if not choice.rule:
        raise InputError(choice.reason)
    return choice.rule


def _calibrated(material: Material, cell: Cell) -> Choice:
    data, _ = material.data(cell)
    try:
        found = calibrate(data.rows, material.folder.model(cell), ExplainSettings())
    except InputError as error:
        return Choice(rule="", reason=str(error), cell=cell.name)
    return Choice(rule=found.rule, reason=found.reason, cell=cell.name)
