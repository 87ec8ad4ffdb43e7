"""What a training run can be told."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from hpcml.errors import SettingsError
from hpcml.training.targets import Target

Share = Annotated[float, msgspec.Meta(ge=0)]
Positive = Annotated[int, msgspec.Meta(ge=1)]
LeaveOut = Literal["unstable", "warned", "nothing"]
Count = Annotated[int, msgspec.Meta(ge=0)]


class Bounds(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the values of a column may be.

    least, most    the first and the last that are allowed; one of them may be left out
    """

    least: float | None = None
    most: float | None = None

    def __post_init__(self) -> None:
        if self.least is None and self.most is None:
            raise SettingsError("train.within: a column needs least, most, or both")
        if self.least is not None and self.most is not None and self.least > self.most:
            raise SettingsError(f"train.within: least {self.least:g} is above most {self.most:g}")


class TrainSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One training run: what is learned, by which network, how, and on how many ranks.

    model, hyperparameters    a name of hpcml.models and what its settings are given
    target           one target or several (multi-task); a plain name is a static target
    leave_out        rows not to learn from: "unstable" (the SCF is known to be no minimum),
                     "warned" (any warning), "nothing"
    within           column -> Bounds of rows to learn from, such as gap.least = 0.1,
                     spin_contamination.most = 0.1, first_excitation.least = 0.15; rows that have
                     no value are kept (training.soundness)
    scaling          "elements": least-squares references for each element, then the spread of
                     what is left; "standardize": mean and spread; "auto": elements for
                     extensive targets, standardize for the others
    epochs           how often the network is validated, after ``passes`` passes over the training
                     set each
    passes           over the training set, from one validation to the next
    batch_size       molecules of a step, of all ranks together
    loss             of the scaled error: "mse", "mae", or "huber" (threshold one)
    share_weight     of a loss for each atom beside the molecule's: between what the network's atom
                     adds to the prediction and the atom's share of the target (column
                     share_NAME of the data set), scaled by the shares' spread; 0 is none
    optimizer        "adam", or "adamw", whose decay of the weights is apart from the gradient
    learning_rate    of the optimizer, before warm-up and schedule
    weight_decay     of the optimizer; 0 is none
    schedule         of the learning rate: "constant", "cosine" to zero at the last epoch,
                     "exponential" (decay_factor every decay_epochs), "plateau" (decay_factor
                     after decay_epochs without a better validation error)
    decay_factor     by which an exponential schedule or a plateau multiplies the learning rate
    decay_epochs     epochs between two such steps, or without a better validation error before one
    warmup_epochs    linear rise from zero
    clip_norm        longest gradient; 0 is no limit
    average_decay    of the exponential moving average of the weights that is validated and
                     kept; 0 is none
    patience         epochs without a better validation error before stopping; 0 is never
    seed             of the first weights, the order of molecules, and the drawing of the split
    split            "random", "scaffold", "size", "file" (split_file: a split.json), or a kind
                     of which ``hold_out`` names what all test molecules have and no other:
                     "scaffold_class", "group", "elements", "environment" (training.held_out)
    split_file       path of the split.json of a split "file"
    hold_out         what all test molecules have, where something is held out by name: "bicyclic",
                     "carboxylic acid", "NO+", "ring N of C, N"; empty for the other kinds of split
    train, validation, test    shares of the rows up to 1, numbers of rows above; test takes
                     what is left when it is 0; where something is held out by name, all that
                     has it is tested on, and train and validation are of the rest
    heavy_atoms      of the split by size: train on molecules up to this many, test on the rest
    train_sizes      learning curve: a network is trained on the first so many training rows for
                     each, in about as many steps and with as many validations, before the one on
                     all of them; learning_curve.csv
    baselines        names in hpcml.models.baselines that are fitted to the same split
    baseline_rows    most training rows for those with a kernel
    keep_epochs      after which the weights are kept beside the best, for ``analyze --weights``
    members          networks of the ensemble, differing by their seed alone
    ranks, threads   processes, and threads of each
    backend          "horovod", "torch" (torch.distributed), "alone"; "auto" looks at how the
                     program was started, and takes torch where Horovod is not installed
    batch_norm       statistics over the molecules of all ranks ("synchronized", the same curve
                     at any number of ranks) or of each rank alone ("local", fewer messages)
    compression      of gradients under way: "none", "fp16"
    fusion_megabytes   size up to which gradients are sent together
    device           of each rank: "cpu" or "cuda"
    precision        of the network's arithmetic
    checkpoint_steps   steps between checkpoints
    tensorboard      write the curves for TensorBoard too, into the model's folder
    """

    model: str = "weave"
    hyperparameters: dict[str, Any] = msgspec.field(default_factory=dict)
    target: str | Target | tuple[str | Target, ...] = "alpha_iso"
    leave_out: LeaveOut = "unstable"
    within: dict[str, Bounds] = {}
    scaling: Literal["auto", "elements", "standardize"] = "auto"

    epochs: Positive = 100
    passes: Positive = 1
    batch_size: Positive = 32
    loss: Literal["mse", "mae", "huber"] = "mse"
    share_weight: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    optimizer: Literal["adam", "adamw"] = "adam"
    learning_rate: Annotated[float, msgspec.Meta(gt=0)] = 1e-3
    weight_decay: Share = 0.0
    schedule: Literal["constant", "cosine", "exponential", "plateau"] = "cosine"
    decay_factor: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.8
    decay_epochs: Positive = 10
    warmup_epochs: Count = 0
    clip_norm: Share = 0.0
    average_decay: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0.0
    patience: Count = 0
    seed: Count = 1
    keep_epochs: tuple[Positive, ...] = ()
    members: Positive = 1
    baselines: tuple[str, ...] = ()
    baseline_rows: Positive = 2000

    split: Literal[
        "random", "scaffold", "size", "file", "scaffold_class", "group", "elements", "environment"
    ] = "random"
    split_file: str = ""
    hold_out: str = ""
    train: Share = 0.8
    validation: Share = 0.1
    test: Share = 0.0
    heavy_atoms: Count = 0
    train_sizes: tuple[Positive, ...] = ()

    ranks: Positive = 2
    threads: Positive = 1
    backend: Literal["auto", "horovod", "torch", "alone"] = "auto"
    batch_norm: Literal["synchronized", "local"] = "synchronized"
    compression: Literal["none", "fp16"] = "none"
    fusion_megabytes: Share = 64.0
    device: Literal["cpu", "cuda"] = "cpu"
    precision: Literal["float32", "float64", "tf32", "bfloat16"] = "float32"
    checkpoint_steps: Positive = 200
    tensorboard: bool = False

    @property
    def targets(self) -> tuple[Target, ...]:
        """The targets, one or several, each as a Target."""
        given = self.target if isinstance(self.target, tuple) else (self.target,)
        targets = tuple(Target(name=one) if isinstance(one, str) else one for one in given)
        if not targets:
            raise SettingsError("train.target: name at least one target")
        labels = [target.label for target in targets]
        if len(set(labels)) < len(labels):
            raise SettingsError(f"train.target: a target stands twice in {', '.join(labels)}")
        if len({target.is_extensive for target in targets}) > 1:
            raise SettingsError(
                "train.target: one network has one readout; "
                + ", ".join(f"{t.label} is extensive: {t.is_extensive}" for t in targets)
                + " (set `extensive` on each, or train two networks)"
            )
        return targets


def read_settings(text: bytes, where: str) -> TrainSettings:
    """Settings from JSON; SettingsError naming the key where one is unknown or out of bounds."""
    try:
        settings = msgspec.json.decode(text, type=TrainSettings)
    except msgspec.DecodeError as error:
        raise SettingsError(f"{where}: {error}") from None
    settings.targets  # noqa: B018  checked here, where the file's name is known
    return settings
