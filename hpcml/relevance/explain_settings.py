"""What a user can set about relevance, and the rules by name."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from hpcml.errors import SettingsError

Positive = Annotated[int, msgspec.Meta(ge=1)]

RuleName = Literal[
    "epsilon",
    "gamma",
    "z_plus",
    "alpha_beta",
    "flat",
    "w_square",
    "epsilon_gamma",
    "epsilon_gamma_w_square",
    "gradient_times_input",
    "integrated_gradients",
    "occlusion",
    "atomic_terms",
]


class ExplainSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a data set is explained.

    rule         a rule for all affine layers ("epsilon" with epsilon near 0 is the plainest); a
                 composite by depth, "epsilon_gamma" (gamma in the lower layers, epsilon above)
                 or "epsilon_gamma_w_square" (w-square in the first layer as well); or a comparator
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

    rule: RuleName = "epsilon"
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


def read_settings(text: bytes, where: str) -> ExplainSettings:
    """Settings from JSON; SettingsError naming the key where one is unknown or out of bounds."""
    try:
        return msgspec.json.decode(text, type=ExplainSettings)
    except msgspec.DecodeError as error:
        raise SettingsError(f"{where}: {error}") from None
