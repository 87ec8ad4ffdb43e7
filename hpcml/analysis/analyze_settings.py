"""What a user can set about the analysis."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec


class AnalyzeSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How relevances are held against what physics assigns to each atom.

    composition     what of an atom is composition, and taken off before relevance and share are
                    compared: "elements", or "environments" (element, hybridization and number of
                    hydrogens on it), which is the harder question
    matched_pairs   of how many molecules, drawn at random, pairs that differ in one group are
                    looked for; 0: none
    """

    composition: Literal["elements", "environments"] = "elements"
    matched_pairs: Annotated[int, msgspec.Meta(ge=0)] = 5000
