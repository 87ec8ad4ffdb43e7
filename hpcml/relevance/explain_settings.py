"""What a user can set about relevance, and the rules by name."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec

from hpcml.errors import SettingsError

if TYPE_CHECKING:
    from hpcml.relevance.engine.rules import Composite, Rule
    from hpcml.training.targets import Target

Positive = Annotated[int, msgspec.Meta(ge=1)]

AUTO = "auto"
RULES = (
    "epsilon",
    "gamma",
    "z_plus",
    "alpha_beta",
    "flat",
    "w_square",
    "epsilon_gamma",
    "epsilon_gamma_w_square",
)
COMPARATORS = ("gradient_times_input", "integrated_gradients", "occlusion", "atomic_terms")
ENTRY_POINTS = "hpcml.rules"

MakeRule = Callable[["ExplainSettings"], "Rule | Composite"]
_REGISTERED: dict[str, MakeRule] = {}


def register_rule(name: str, make: MakeRule) -> None:
    """Make a rule known by a name, in this process.

    make    from the settings to the rule, or to a composite of rules

    Another package names its rules in the entry point group ``hpcml.rules``, each the place of
    such a function: ``mine = "my_package.my_rules:my_rule"``.  Raises SettingsError where
    another rule has the name.
    """
    if name in (AUTO, *RULES, *COMPARATORS) or _REGISTERED.get(name, make) is not make:
        raise SettingsError(f"there is a rule {name!r} already: choose another name")
    _REGISTERED[name] = make


def rule_names() -> list[str]:
    """All names that ``ExplainSettings.rule`` takes; nothing is imported for it."""
    others = {*_REGISTERED, *entry_points(group=ENTRY_POINTS).names}
    house = (AUTO, *RULES, *COMPARATORS)
    return [*house, *sorted(others - {*house})]


def rule_from_outside(name: str) -> MakeRule | None:
    """What makes the rule that was registered, or that another package brings; else None.

    Raises SettingsError where it cannot be loaded.
    """
    if name in _REGISTERED:
        return _REGISTERED[name]
    for brought in entry_points(group=ENTRY_POINTS, name=name):
        try:
            make: MakeRule = brought.load()
        except (ImportError, AttributeError) as error:
            raise SettingsError(
                f"rule {name!r}: {brought.value} cannot be loaded ({error})"
            ) from error
        return make
    return None


class ExplainSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a data set is explained.

    rule         "auto": the one that tells the truth for this network (``hpcml calibrate``); or
                 one for all affine layers ("epsilon" with epsilon near 0 is the plainest); a
                 composite by depth, "epsilon_gamma" (gamma in the lower layers, epsilon above)
                 or "epsilon_gamma_w_square" (w-square in the first layer as well); a comparator;
                 or a rule from outside (``register_rule``)
    epsilon      stabilizer of the rules, in the units of the layers' outputs; 0 is LRP-0
    gamma        weight of contributions with the output's sign, less one
    alpha        weight of the positive contributions of "alpha_beta"
    gamma_depth  affine layers counted from the inputs that a composite gives the gamma rule
    products     "weight": relevance goes through the signal of a product; "halves": its gate, a
                 function of distances, gets half
    pairs        what is kept for each pair of atoms beside the relevance of atoms: "none";
                 "inputs", the relevance of what the network is told of pairs (Weave's pair
                 features, distances where products are "halves"); or "interactions", the
                 second-order relevance of one atom at the other (n times the work for n atoms)
    steps        points of integrated gradients
    target       label of the target to explain, for a network of several; "" is the first
    batch_size   molecules at a time
    ranks        MPI ranks
    threads      of each rank
    """

    rule: str = AUTO
    epsilon: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    gamma: Annotated[float, msgspec.Meta(ge=0)] = 0.25
    alpha: Annotated[float, msgspec.Meta(ge=1)] = 2.0
    gamma_depth: Positive = 3
    products: Literal["weight", "halves"] = "weight"
    pairs: Literal["none", "inputs", "interactions"] = "none"
    steps: Positive = 32
    target: str = ""
    batch_size: Positive = 128
    ranks: Positive = 2
    threads: Positive = 1

    def __post_init__(self) -> None:
        if self.rule in (AUTO, *RULES, *COMPARATORS):
            return  # what other packages bring is read from their files, which takes its time
        if self.rule not in (names := rule_names()):
            raise ValueError(f"no rule {self.rule!r}; there are {', '.join(names)}")


def read_settings(text: bytes, where: str) -> ExplainSettings:
    """Settings from JSON; SettingsError naming the key where one is unknown or out of bounds."""
    try:
        return msgspec.json.decode(text, type=ExplainSettings)
    except msgspec.DecodeError as error:
        raise SettingsError(f"{where}: {error}") from None


def target_index(targets: tuple[Target, ...], wanted: str) -> int:
    """Which of the network's outputs has this label; SettingsError for one it has not."""
    if not wanted:
        return 0
    labels = [target.label for target in targets]
    if wanted not in labels:
        raise SettingsError(f"explain.target: no target {wanted!r}; there are {', '.join(labels)}")
    return labels.index(wanted)
