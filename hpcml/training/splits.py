"""Which molecules are learned from, which decide when to stop, and which judge."""

from __future__ import annotations

import codecs
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING, overload

import msgspec
import numpy as np
from numpy.typing import NDArray

from hpcml.errors import InputError, SettingsError
from hpcml.files import write_whole
from hpcml.molecules import Molecule, perceive
from hpcml.training.held_out import KINDS, holdable
from hpcml.training.model_folder import PARTS
from hpcml.training.train_settings import TrainSettings

if TYPE_CHECKING:
    from hpcml.training.data import Candidates  # needs torch, which reading a split does not


LEAST_HELD_OUT = 3
"""Molecules to be held out by name: of fewer no interval can be told."""
UNSEEN = "bonds cannot be perceived"
"""Why a row is left out of a split that needs bonds."""


class Split(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The keys of the data set's rows by part, and the data set they were drawn from.

    kind           how it was made: TrainSettings.split; "file" for one written by hand
    held_out       what all test molecules have and no other: TrainSettings.hold_out
    fingerprint    of the data set; "" for a split written by hand
    left_out       reason -> rows of the data set that are in no part because of it
    copies         rows that stand in the part of another row with the same atoms and bonds
    """

    kind: str = "file"
    held_out: str = ""
    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...] = ()
    fingerprint: str = ""
    left_out: dict[str, int] = {}
    copies: int = 0

    def part(self, name: str) -> tuple[str, ...]:
        """Keys of "train", "validation", or "test"."""
        keys: tuple[str, ...] = getattr(self, name)
        return keys


def make_split(settings: TrainSettings, candidates: Candidates, fingerprint: str) -> Split:
    """Divide the rows as the settings say.

    The result depends on the set of keys and the seed, not on the order of the rows.  Rows of
    one molecule stay together: the same atoms with the same bonds, turned, mirrored, shifted,
    renumbered or in another conformation.  In a split from a file they are where it has them,
    unless they are the same geometry.  Raises InputError where a part that
    is needed would be empty, SettingsError where the numbers do not fit.
    """
    molecules, count = candidates.rows.molecules, len(candidates.packed_keys)
    if settings.split == "file":
        keys = candidates.keys
        split = _from_file(settings.split_file, set(keys))
        check_disjoint(split, dict(zip(keys, candidates.molecule_keys, strict=True)))
        return msgspec.structs.replace(
            split, kind="file", fingerprint=fingerprint, left_out=candidates.left_out
        )
    groups = _Groups(candidates.packed_keys, candidates.constitutions)
    random = np.random.default_rng([settings.seed, 0x5917])
    shuffled = groups.in_order(random.permutation(len(groups)))
    counts = part_sizes(settings, count)
    not_seen: list[int] = []
    if settings.split in KINDS:
        parts, not_seen = _by_name(shuffled, molecules, settings)
    elif settings.split == "random":
        parts = _fill(shuffled, counts)
    elif settings.split == "scaffold":
        joined = _by_scaffold(shuffled, molecules)
        parts = _fill(list(joined.values()), counts)
        _check_scaffolds(joined, parts, count)
    else:
        parts = _by_size(shuffled, molecules, counts, settings.heavy_atoms)
    train, validation, test = (candidates.texts_of_keys(part) for part in parts)
    unknown = {UNSEEN: len(not_seen)} if not_seen else {}
    split = Split(
        kind=settings.split,
        held_out=settings.hold_out,
        train=train,
        validation=validation,
        test=test,
        fingerprint=fingerprint,
        left_out=candidates.left_out | unknown,
        copies=count - len(groups),
    )
    if split.copies and not (split.train and split.validation):
        raise InputError(
            f"{count} rows, but different molecules: {len(groups)}; each stands in one part of "
            "the split: divide geometries by hand, in a split file"
        )
    check_size(split, settings, count)
    return split


class _Groups(Sequence[list[int]]):
    """Rows that are the same molecule, group by group: lists that are made when asked for.

    Groups come in the order of their first rows, and rows in that of their keys, whatever the
    order of the data set.
    """

    def __init__(self, packed_keys: NDArray[np.uint8], same: NDArray[np.int64]) -> None:
        halves = np.ascontiguousarray(packed_keys).view(">u8")
        rows = np.lexsort((halves[:, 1], halves[:, 0]))
        _, first, number = np.unique(same[rows], return_index=True, return_inverse=True)
        place = np.empty(len(first), np.int64)
        place[np.argsort(first, kind="stable")] = np.arange(len(first))
        order = np.argsort(place[number], kind="stable")
        self._rows = rows[order]
        self._cuts = np.searchsorted(place[number][order], np.arange(len(first) + 1))
        self._order = np.arange(len(first))

    def in_order(self, order: NDArray[np.int64]) -> _Groups:
        """The same groups, those of these numbers one after the other."""
        other = copy(self)
        other._order = self._order[order]
        return other

    def __len__(self) -> int:
        return len(self._order)

    @overload
    def __getitem__(self, index: int) -> list[int]: ...
    @overload
    def __getitem__(self, index: slice) -> list[list[int]]: ...
    def __getitem__(self, index: int | slice) -> list[int] | list[list[int]]:
        if isinstance(index, slice):
            return [self[number] for number in range(len(self))[index]]
        group = self._order[index]
        found: list[int] = self._rows[self._cuts[group] : self._cuts[group + 1]].tolist()
        return found


def without(split: Split, missing: Collection[str], reason: str) -> Split:
    """The split less some rows, which are counted under ``reason``."""
    if not missing:
        return split
    gone = set(missing)
    parts = {part: tuple(key for key in split.part(part) if key not in gone) for part in PARTS}
    left_out = split.left_out | {reason: len(gone)}
    return msgspec.structs.replace(split, left_out=left_out, **parts)


def check_size(split: Split, settings: TrainSettings, rows: int) -> None:
    """InputError where there is nothing to train on, or to validate with."""
    for name in ("train", "validation"):
        if not split.part(name):
            raise InputError(
                f"too few rows: {rows} with a value of every target leave none for {name} "
                f"(train {settings.train:g}, validation {settings.validation:g}, "
                f"test {settings.test:g})"
            )


def part_sizes(settings: TrainSettings, rows: int) -> tuple[int, int, int]:
    """Rows of train, validation and test: shares up to 1, numbers above; test 0 is the rest."""
    given = (settings.train, settings.validation, settings.test)
    sizes = [round(part * rows) if part <= 1 else round(part) for part in given]
    if settings.test == 0:
        sizes[2] = max(0, rows - sizes[0] - sizes[1])
    if sum(sizes) > rows and sum(sizes) - rows <= 2 and all(part <= 1 for part in given):
        sizes[0] -= sum(sizes) - rows  # rounding alone
    if sum(sizes) > rows:
        raise SettingsError(
            f"train {sizes[0]} + validation {sizes[1]} + test {sizes[2]} rows are more than "
            f"the {rows} that there are"
        )
    return sizes[0], sizes[1], sizes[2]


def _fill(groups: Sequence[list[int]], counts: tuple[int, int, int]) -> list[list[int]]:
    """Whole groups in their order into the first part that has room for them.

    A group that fits nowhere goes where most is missing, unless the parts are full.
    """
    parts: list[list[int]] = [[], [], []]
    for group in groups:
        room = [count - len(part) for part, count in zip(parts, counts, strict=True)]
        if max(room) <= 0:
            break
        fits = [number for number in range(3) if room[number] >= len(group)]
        number = fits[0] if fits else int(np.argmax(room))
        if room[number] > 0:
            parts[number].extend(group)
    return parts


def told_of_copies(split: Split, candidates: Candidates) -> str:
    """One line where rows of one molecule were kept together, or a file has them apart; or ""."""
    if split.copies:
        return (
            f"{split.copies} rows are further copies of a molecule (the same atoms and bonds, "
            "whatever geometry): all copies stand in one part of the split"
        )
    if split.kind != "file":
        return ""
    number = dict(zip(candidates.keys, candidates.constitutions.tolist(), strict=True))
    learned = {number[key] for key in split.train}
    apart = sum(number[key] in learned for key in (*split.validation, *split.test))
    if not apart:
        return ""
    return (
        f"{apart} rows of validation and test are copies of training molecules (the same atoms "
        "and bonds) in the split file: errors will look smaller than they are"
    )


def _by_scaffold(
    groups: Sequence[list[int]], molecules: Sequence[Molecule]
) -> dict[str, list[int]]:
    """Groups joined by Bemis-Murcko scaffold (J. Med. Chem. 39, 2887), the largest first; that
    of molecules without a ring is "".

    So the test set holds the rare scaffolds, none of which was trained on.
    """
    from rdkit.Chem.Scaffolds import MurckoScaffold

    joined: dict[str, list[int]] = defaultdict(list)
    for group in groups:
        mol = perceive(molecules[group[0]])
        joined[MurckoScaffold.MurckoScaffoldSmiles(mol=mol)].extend(group)
    return dict(sorted(joined.items(), key=lambda item: len(item[1]), reverse=True))


def _check_scaffolds(
    joined: Mapping[str, list[int]], parts: Sequence[list[int]], rows: int
) -> None:
    """InputError where scaffolds are too few, or one too common, to be divided."""
    if parts[0] and parts[1]:
        return
    scaffold, largest = next(iter(joined.items()))
    of_these = (
        f"have the scaffold {scaffold}" if scaffold else "have no ring, which is one scaffold"
    )
    raise InputError(
        f"{len(largest)} of {rows} molecules {of_these} and cannot be divided: with "
        f"{len(joined)} scaffold{'s' if len(joined) > 1 else ''} in all, nothing is left to "
        f'{"validate with" if parts[0] else "train on"}; split = "random" or "size" divides them'
    )


def _by_size(
    groups: Sequence[list[int]],
    molecules: Sequence[Molecule],
    counts: tuple[int, int, int],
    heavy_atoms: int,
) -> list[list[int]]:
    """Small molecules for train and validation, at random; the larger ones for test.

    heavy_atoms bounds the small ones; 0 cuts where the counts say, between two sizes where a
    size is not split.
    """

    def heavy(group: list[int]) -> int:
        return int((molecules[group[0]].numbers > 1).sum())

    if heavy_atoms:
        small = [group for group in groups if heavy(group) <= heavy_atoms]
        large = [group for group in groups if heavy(group) > heavy_atoms]
        rows = sum(len(group) for group in small)
        learned = counts[0] + counts[1]
        to_train = round(rows * counts[0] / learned)
        parts = _fill(small, (to_train, rows - to_train, 0))
        return [parts[0], parts[1], [row for group in large for row in group]]
    ordered = sorted(groups, key=heavy)
    parts = _fill(ordered, (counts[0] + counts[1], counts[2], 0))
    learned_rows = set(parts[0])
    small = [group for group in groups if group[0] in learned_rows]
    train, validation, _ = _fill(small, (counts[0], counts[1], 0))
    return [train, validation, parts[1]]


def _by_name(
    groups: Sequence[list[int]], molecules: Sequence[Molecule], settings: TrainSettings
) -> tuple[list[list[int]], list[int]]:
    """What ``hold_out`` names for test, the rest for train and validation at random; and the rows
    of which nobody can say whether they have it.

    Rows of one molecule have the same bonds: the first of them tells for all.
    """
    known = holdable(settings.split, [molecules[group[0]] for group in groups])
    held = set(known.find(settings.hold_out).tolist())
    gone = set(known.not_seen.tolist())
    rest = [group for number, group in enumerate(groups) if number not in held | gone]
    test = [row for number in sorted(held) for row in groups[number]]
    rows = sum(len(group) for group in rest)
    parts = _fill(rest, (*_learned_from(settings, rows), 0))
    if len(held) < LEAST_HELD_OUT or not parts[0] or not parts[1]:
        raise InputError(
            f"train.hold_out: {len(held)} molecules have {settings.hold_out!r}, which leaves "
            f"{len(parts[0])} rows to train on and {len(parts[1])} to validate with: at least "
            f"{LEAST_HELD_OUT}, 1 and 1 are needed; {known.told()}"
        )
    return [parts[0], parts[1], test], [row for number in sorted(gone) for row in groups[number]]


def _learned_from(settings: TrainSettings, rows: int) -> tuple[int, int]:
    """Rows of train and validation out of those that are not held out: in proportion to their
    shares, or as many as are named."""
    train, validation = settings.train, settings.validation
    if max(train, validation) <= 1:
        to_train = round(rows * train / max(train + validation, 1e-9))
        return to_train, rows - to_train
    sizes = [round(part if part > 1 else part * rows) for part in (train, validation)]
    if sum(sizes) > rows:
        raise SettingsError(
            f"train {sizes[0]} + validation {sizes[1]} rows are more than the {rows} that are not "
            "held out"
        )
    return sizes[0], sizes[1]


def _from_file(path: str, keys: set[str]) -> Split:
    """A split saved earlier, or written by hand, over rows that the data set has."""
    if not path:
        raise SettingsError("train.split_file: split = 'file' needs a file")
    split = read_split(Path(path))
    for part in PARTS:
        missing = [key for key in split.part(part) if key not in keys]
        if missing:
            raise InputError(
                f"{path}: {len(missing)} keys of {part} are no rows of the data set with a "
                f"value of every target (the first: {missing[0]})"
            )
    return split


def check_disjoint(split: Split, molecule_keys: Mapping[str, str]) -> None:
    """InputError where a row or a molecule stands in two parts, or a row twice in one.

    molecule_keys    row key -> molecule key
    """
    seen: dict[str, str] = {}
    for part in PARTS:
        names = set()
        for key in split.part(part):
            name = molecule_keys[key]
            names.add(name)
            if seen.get(name, part) != part:
                raise InputError(f"row {key} stands in {seen[name]} and in {part} of the split")
        if len(set(split.part(part))) < len(split.part(part)):
            raise InputError(f"a row stands twice in {part} of the split")
        seen.update(dict.fromkeys(names, part))


def check_same_data(split: Split, fingerprint: str, where: Path) -> None:
    """InputError where the data set is no longer the one that the split was drawn from."""
    if split.fingerprint and split.fingerprint != fingerprint:
        raise InputError(
            f"{where}: the data set has changed since this split was made "
            f"({split.fingerprint[:12]} then, {fingerprint[:12]} now): "
            "to learn from what it holds now, train into a new folder or remove this one; "
            "to go on as before, bring the old data set back"
        )


def rows_of(split: Split, part: str, row_of_key: dict[str, int]) -> NDArray[np.int64]:
    """Row numbers of one part, in the split's order.

    Returns
    -------
    (n,) integer array
    """
    return np.array([row_of_key[key] for key in split.part(part)], dtype=np.int64)


def read_split(path: Path) -> Split:
    """A split from its JSON file; InputError where it is none."""
    try:
        return msgspec.json.decode(path.read_bytes().removeprefix(codecs.BOM_UTF8), type=Split)
    except FileNotFoundError:
        raise InputError(f"{path}: no such split file") from None
    except msgspec.DecodeError as error:
        raise InputError(f"{path}: is not a split ({error})") from None


def write_split(path: Path, split: Split) -> None:
    """The split as JSON, whole or not at all."""
    write_whole(path, msgspec.json.format(msgspec.json.encode(split), indent=1))
