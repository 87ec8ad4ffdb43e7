"""What can be known of a training run before there is anything to train on."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from hpcml.errors import InputError, SettingsError
from hpcml.models import networks
from hpcml.store import Schema
from hpcml.training.baseline_errors import check_names
from hpcml.training.held_out import KINDS
from hpcml.training.soundness import SPIN_CONTAMINATION
from hpcml.training.splits import read_split
from hpcml.training.train_settings import TrainSettings


def faults(settings: TrainSettings, schema: Schema | None = None) -> list[str]:
    """What is wrong with the settings, a line for each, beginning with the key: "train.model: ...".

    schema    of the data set to learn from, where it is known
    """
    checks: list[tuple[str, Callable[[], object]]] = [
        ("model", partial(networks.check, settings.model, settings.hyperparameters)),
        ("baselines", partial(check_names, settings.baselines)),
        ("split", partial(_check_split, settings)),
        ("hold_out", partial(_check_hold_out, settings)),
        ("train_sizes", partial(_check_sizes, settings)),
        ("keep_epochs", partial(_check_kept, settings)),
    ]
    try:
        targets = settings.targets
    except SettingsError as error:
        return [str(error), *_found(checks)]
    if schema is not None:
        checks += [("target", partial(target.check, schema)) for target in targets]
        checks += [
            ("within", partial(schema.scalar_index, name, "static", 0.0))
            for name in settings.within
            if name != SPIN_CONTAMINATION
        ]
    found = _found(checks)
    if settings.share_weight and not any(
        line.startswith(("train.model:", "train.target:")) for line in found
    ):
        checks = [("share_weight", partial(_check_atomic_terms, settings))]
        checks += [("share_weight", partial(target.check_shares, schema)) for target in targets]
        found += _found(checks)
    return found


def check(settings: TrainSettings, schema: Schema) -> None:
    """SettingsError with the first of the ``faults``."""
    for fault in faults(settings, schema):
        raise SettingsError(fault)


def _found(checks: list[tuple[str, Callable[[], object]]]) -> list[str]:
    found = []
    for key, look in checks:
        try:
            look()
        except (SettingsError, InputError) as error:
            found.append(f"train.{key}: {error}")
    return found


def _check_split(settings: TrainSettings) -> None:
    parts = (settings.train, settings.validation, settings.test)
    if settings.split == "file":
        if not settings.split_file:
            raise SettingsError("'file' needs a split_file")
        read_split(Path(settings.split_file))
    elif max(parts) <= 1 and sum(parts) > 1 + 1e-9:
        raise SettingsError(
            f"shares of train {parts[0]:g}, validation {parts[1]:g} and test {parts[2]:g} "
            f"make {sum(parts):g}, more than one"
        )


def _check_hold_out(settings: TrainSettings) -> None:
    if settings.hold_out and settings.split not in KINDS:
        raise SettingsError(
            f"{settings.hold_out!r} needs a split that can hold it out: {', '.join(KINDS)}, "
            f"not {settings.split}"
        )


def _check_atomic_terms(settings: TrainSettings) -> None:
    if not networks.is_additive(settings.model, settings.hyperparameters):
        raise SettingsError(
            f"{settings.model} as set has no atomic terms that shares could teach: take one of "
            "ani, dtnn, linear, painn, or weave with readout = 'sum'"
        )


def _check_sizes(settings: TrainSettings) -> None:
    largest = max(settings.train_sizes, default=0)
    if settings.train > 1 and largest >= settings.train:
        raise SettingsError(f"{largest} is not less than the {settings.train:g} training rows")


def _check_kept(settings: TrainSettings) -> None:
    last = max(settings.keep_epochs, default=0)
    if last > settings.epochs:
        raise SettingsError(f"{last} is after the last of {settings.epochs} epochs")
