"""The trainings that a study comes to: one cell each."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import product

import msgspec

from hpcml.study.study_settings import Study, StudyTarget
from hpcml.training import TrainSettings
from hpcml.training.identity import identity_of

NETWORK, UNTRAINED, SHUFFLED = "network", "untrained", "shuffled"


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """One training, or a control in the place of one.

    target   label of the property
    size     training rows; 0: all
    kind     "network"; "untrained", one with its first weights; or "shuffled", one that has
             learned values that were dealt out to the training molecules anew
    """

    network: str
    target: str
    split: str
    size: int
    seed: int
    share_weight: float = 0.0
    kind: str = NETWORK

    @property
    def target_word(self) -> str:
        """The target in names of files."""
        return re.sub(r"[^A-Za-z0-9_.]+", "_", self.target).strip("_")

    @property
    def name(self) -> str:
        """Its folder's."""
        words = [
            self.network,
            self.target_word,
            self.split,
            str(self.size or "all"),
            f"seed{self.seed}",
        ]
        words += [f"shares{self.share_weight:g}"] if self.share_weight else []
        return "-".join(words + ([self.kind] if self.kind != NETWORK else []))


def cells_of(study: Study) -> list[Cell]:
    """All cells: those of the first seed and of the largest size come first, so that a study that
    was stopped has whole columns, and what is chosen by a network is chosen by a good one."""
    cells: list[Cell] = []
    most = max([study.seeds, *(one.seeds for one in study.networks.values())])
    divided = [(one, split) for one in study.all_targets for split in study.splits_of(one.label)]
    for seed, (target, split) in product(range(1, most + 1), divided):
        for network, chosen in study.networks.items():
            if seed <= (chosen.seeds or study.seeds):
                cells += _of_network(study, network, target, split, seed)
    return cells


def _of_network(
    study: Study, network: str, target: StudyTarget, split: str, seed: int
) -> Iterator[Cell]:
    chosen, divided = study.networks[network], study.splits[split]
    sizes = divided.train_sizes or chosen.train_sizes or study.train_sizes
    weights = divided.share_weights or chosen.share_weights or study.share_weights
    sizes = tuple(sorted(dict.fromkeys(sizes), key=lambda size: size or 10**9, reverse=True))

    def cell(size: int, weight: float = 0.0, kind: str = NETWORK) -> Cell:
        return Cell(
            network=network,
            target=target.label,
            split=split,
            size=size,
            seed=seed,
            share_weight=weight,
            kind=kind,
        )

    for size, weight in product(sizes, weights):
        if not weight or size in (study.share_sizes or sizes):
            yield cell(size, weight)
    if split == study.splits_of(target.label)[0]:
        for kind in study.controls:
            yield cell(sizes[0], kind=kind)


def settings_of(study: Study, cell: Cell) -> TrainSettings:
    """What the cell's network is trained by; passes as they are for the whole training set."""
    settings = study.train_settings(cell.network, study.target(cell.target), cell.split)
    return msgspec.structs.replace(settings, seed=cell.seed, share_weight=cell.share_weight)


def trained_by(study: Study, cell: Cell, fingerprint: str) -> dict[str, str]:
    """What decides the cell's weights, as text by name; ``fingerprint`` of its data set."""
    return identity_of(settings_of(study, cell), fingerprint) | {
        "split_seed": str(study.split_seed),
        "train_sizes": str(cell.size),
        "kind": cell.kind,
    }


def explained_by(study: Study, cell: Cell, fingerprint: Callable[[str], str]) -> dict[str, str]:
    """What decides the cell's lines beside its weights; ``fingerprint`` of a data set's path."""
    transfer = study.transfer_of(study.target(cell.target))
    return {
        "attributions": " ".join(study.attributions),
        "explained": str(study.explained),
        "transfer": repr({name: fingerprint(path) for name, path in transfer.items()}),
    }


def part_of(cells: list[Cell], part: int, parts: int) -> list[Cell]:
    """The cells of one job of several.

    Those of a network and a target stay together: the rule that is chosen for them is chosen once.
    """
    pairs = list(dict.fromkeys((cell.network, cell.target) for cell in cells))
    mine = set(pairs[part - 1 :: parts])
    return [cell for cell in cells if (cell.network, cell.target) in mine]
