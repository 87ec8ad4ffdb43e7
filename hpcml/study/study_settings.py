"""What a study's file can say."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from hpcml.cluster import Site
from hpcml.errors import SettingsError
from hpcml.relevance.explain_settings import rule_names
from hpcml.training import Target, TrainSettings

Count = Annotated[int, msgspec.Meta(ge=0)]
Positive = Annotated[int, msgspec.Meta(ge=1)]
Weight = Annotated[float, msgspec.Meta(ge=0)]
Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._]*$", max_length=60)]
Control = Literal["untrained", "shuffled"]

ATTRIBUTIONS = (
    "auto",
    "epsilon",
    "gradient_times_input",
    "integrated_gradients",
    "occlusion",
    "atomic_terms",
)
OWN = {"model", "hyperparameters", "target", "seed", "share_weight", "members", "baselines",
       "ranks", "threads", "backend", "device", "precision"}  # fmt: skip
"""Settings of training that are no split's and no network's: the study sets them itself."""


StudyName = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]


class StudyTarget(Target, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A property to learn, and the data sets that have it where they are not the study's.

    dataset      learned from and tested on; empty: the study's
    transfer     name -> further data sets it is tested on; unset: the study's
    """

    dataset: str = ""
    transfer: dict[Name, str] | None = None

    @property
    def target(self) -> Target:
        """The property alone."""
        fields = {name: getattr(self, name) for name in Target.__struct_fields__}
        return Target(**fields)


class StudyNetwork(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A network of the study.

    model            its name in hpcml.models; empty: the name of its table
    hyperparameters  as in a campaign
    train            settings of training that differ from the study's
    train_sizes, seeds, share_weights   of this network; empty, 0: the study's
    """

    model: str = ""
    hyperparameters: dict[str, Any] = {}
    train: dict[str, Any] = {}
    train_sizes: tuple[Count, ...] = ()
    seeds: Count = 0
    share_weights: tuple[Weight, ...] = ()


class StudySplit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A way to divide the rows.

    train         settings of training by name (split, heavy_atoms, train, validation, ...)
    targets       names of the targets whose rows are divided so; empty: all
    train_sizes, share_weights   of this split; empty: the network's, or the study's
    """

    train: dict[str, Any] = {}
    targets: tuple[str, ...] = ()
    train_sizes: tuple[Count, ...] = ()
    share_weights: tuple[Weight, ...] = ()


class Study(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that a study's file says: all networks on all targets, and so on.

    name           of the study's run, whose folder is runs/NAME
    dataset        learned from and tested on; a target may have its own
    transfer       name -> further data sets that every network is tested on
    targets        properties, each with its shares in the data set where it is to be scored
    networks       by the name they have in the tables
    splits         by name; the first of a target is the one that its controls are made with.  Rows
                   are divided once for all cells (split_seed)
    train_sizes    training rows, the first so many in an order of the seed; 0: all there are.  Each
                   takes about as many steps
    seeds          trainings of each cell: of first weights, of the order of molecules, and of
                   which training rows a smaller size has
    split_seed     of the drawing of each split
    share_weights  of the loss by atom (train.share_weight): 0 and 1 ask the causal question
    share_sizes    training rows at which weights other than 0 are asked; empty: all sizes
    attributions   rules and comparators; "auto": the rule that calibration chooses for the
                   network (once for each network and target), untold where it finds none
    controls       cells beside those of the largest size: networks with their first weights, and
                   networks that have learned shuffled values
    explained      most molecules of a set that are explained; errors are told of all
    train          settings of training of all cells, as in a campaign
    parts          jobs that ``hpcml submit`` sends the cells out as
    site           where it runs: a table, or the path of a site file
    versions       written by hpcml into the run's folder; not read
    """

    name: StudyName
    dataset: str
    transfer: dict[Name, str] = {}
    targets: tuple[str | StudyTarget, ...]
    networks: dict[Name, StudyNetwork]
    splits: dict[Name, StudySplit] = msgspec.field(default_factory=lambda: {"random": StudySplit()})
    train_sizes: tuple[Count, ...] = (0,)
    seeds: Positive = 5
    split_seed: Count = 1
    share_weights: tuple[Weight, ...] = (0.0,)
    share_sizes: tuple[Count, ...] = ()
    attributions: tuple[str, ...] = ATTRIBUTIONS
    controls: tuple[Control, ...] = ("untrained", "shuffled")
    explained: Positive = 200
    train: dict[str, Any] = {}
    parts: Positive = 1
    site: Site = Site()
    versions: dict[str, str] = {}

    def __post_init__(self) -> None:
        for what in ("targets", "networks", "splits", "train_sizes", "share_weights"):
            if not getattr(self, what):
                raise SettingsError(f"{what}: name at least one")
        labels = [target.label for target in self.all_targets]
        if len(set(labels)) < len(labels):
            raise SettingsError(f"targets: one stands twice in {', '.join(labels)}")
        for rule in self.attributions:
            if rule not in rule_names():
                raise SettingsError(
                    f"attributions: no rule {rule!r}; there are {', '.join(rule_names())}"
                )
        for name, divided in self.splits.items():
            if unknown := set(divided.targets) - set(labels):
                raise SettingsError(
                    f"splits.{name}.targets: no target {min(unknown)!r}; there are "
                    f"{', '.join(labels)}"
                )
        for label in labels:
            if not self.splits_of(label):
                raise SettingsError(f"splits: none is for the target {label!r}")
        for network in self.networks:
            for split in self.splits:
                self.train_settings(network, self.all_targets[0], split)

    @property
    def all_targets(self) -> tuple[StudyTarget, ...]:
        """The targets, each with where its values are."""
        return tuple(StudyTarget(name=one) if isinstance(one, str) else one for one in self.targets)

    def target(self, label: str) -> StudyTarget:
        """The target of a label."""
        return next(one for one in self.all_targets if one.label == label)

    def splits_of(self, label: str) -> tuple[str, ...]:
        """The splits of a target, by name."""
        return tuple(
            name for name, one in self.splits.items() if not one.targets or label in one.targets
        )

    def dataset_of(self, target: StudyTarget) -> str:
        """Where a target is learned from."""
        return target.dataset or self.dataset

    def transfer_of(self, target: StudyTarget) -> dict[str, str]:
        """Name -> further data set that a target is tested on."""
        return dict(self.transfer if target.transfer is None else target.transfer)

    def train_settings(self, network: str, target: StudyTarget, split: str) -> TrainSettings:
        """What a cell's network is trained by, but for size, seed and share_weight."""
        chosen, divided = self.networks[network], self.splits[split]
        for where, table in (
            (f"networks.{network}", chosen.train),
            (f"splits.{split}", divided.train),
        ):
            if own := (OWN | {"train_sizes"}) & table.keys():
                raise SettingsError(f"{where}.train: {min(own)!r} does not belong here")
        if (
            own := (OWN - {"ranks", "threads", "backend", "device", "precision"})
            & self.train.keys()
        ):
            raise SettingsError(f"train: {min(own)!r} is what the study goes through")
        tables = {
            **self.train,
            **divided.train,
            **chosen.train,
            "model": chosen.model or network,
            "hyperparameters": chosen.hyperparameters,
        }
        try:
            settings = msgspec.convert(tables, TrainSettings)
        except msgspec.ValidationError as error:
            raise SettingsError(
                f"training of {network} on {split} ([train], [networks.{network}.train] and "
                f"[splits.{split}.train] together): {error}"
            ) from None
        return msgspec.structs.replace(settings, target=target.target)
