"""What makes one training run another: the settings that decide its course, and the data set."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from hpcml.training.train_settings import TrainSettings

_FREE = {"ranks", "threads", "backend", "compression", "fusion_megabytes", "tensorboard",
         "members", "train_sizes", "keep_epochs", "baselines", "baseline_rows"}  # fmt: skip
"""Settings that a run may change when it goes on: they do not decide what is learned."""


def identity_of(settings: TrainSettings, fingerprint: str) -> dict[str, str]:
    """By name, as text; ``fingerprint`` of the data set."""
    chosen = msgspec.to_builtins(settings)
    if not chosen["within"]:  # not known to earlier versions, whose studies stay the same
        del chosen["within"]
    text = {name: repr(value) for name, value in chosen.items() if name not in _FREE}
    return text | {"data set": fingerprint}


def differences(theirs: Mapping[str, str], ours: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Name -> what it was and what it is, where these differ.

    A setting that an older version did not know was then what it is by default.
    """
    defaults = identity_of(TrainSettings(), "not known")
    return {
        name: (theirs.get(name, defaults.get(name, "not known")), ours.get(name, "not known"))
        for name in sorted(theirs.keys() | ours.keys())
        if theirs.get(name, defaults.get(name)) != ours.get(name)
    }
