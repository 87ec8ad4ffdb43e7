"""The choice of a rule for a network, by what ``calibration`` has measured of each.

A rule must do better than chance in two ways.  *Truth*: a network of the same type that has
learned made-up properties is asked for their atoms' known shares (``known_truth``).  *Flipping*:
in the run's own network atoms are taken away in the order of their relevance, and the
prediction must fall, and rise, faster than in a random order (``measures.flipping``).

Among the rules that pass, the truest is chosen.  Where others are as true within the error, the
first of ``CANDIDATES`` is: rules with a ledger come before answers that leave a rest.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

import msgspec
import numpy as np

from hpcml.errors import InputError
from hpcml.files import write_whole
from hpcml.relevance.explain_settings import AUTO, COMPARATORS, ExplainSettings
from hpcml.training.model_folder import ModelFolder

CANDIDATES = (
    "gamma",
    "epsilon_gamma",
    "z_plus",
    "alpha_beta",
    "epsilon",
    "atomic_terms",
    "integrated_gradients",
    "gradient_times_input",
    "occlusion",
)
"""In the order of preference among those that are as true."""
UNCALIBRATED = "gamma"
"""Where nothing was measured: on no network that was, another was clearly truer."""
LEARNED = 0.5
"""R2 on molecules not learned from, below which a made-up property was not learned: no question."""
_ERRORS = 2.0  # standard errors above chance: one rule in forty passes by luck


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """What a rule is worth.

    truth            correlation with the known shares within a molecule, mean over molecules
                     and over the made-up properties that were learned; NaN where none was
    truth_error      its standard error over molecules
    environment, pairs, decoy    the same, property by property
    flipping         mean area between the flipping curves, target's unit; 0 is chance
    flipping_error   its standard error over molecules
    """

    rule: str
    truth: float
    truth_error: float
    environment: float
    pairs: float
    decoy: float
    flipping: float
    flipping_error: float

    @property
    def faithful(self) -> bool:
        """Whether flipping says more than chance."""
        return self.flipping > _ERRORS * self.flipping_error

    @property
    def true(self) -> bool:
        """Whether it agrees with the truth better than by chance."""
        return self.truth > _ERRORS * self.truth_error


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """The choice of a rule for a network.

    rule       chosen
    reason     why, in one line
    learned    made-up property -> R2 on molecules not learned from
    molecules  that the rules were asked about
    identity   of network and settings for which it was made
    lines      of each rule that was asked
    """

    rule: str
    reason: str
    learned: dict[str, float]
    molecules: int
    identity: str
    lines: tuple[Line, ...] = ()


def choose(lines: Sequence[Line]) -> tuple[str, str]:
    """The rule to use, and why.

    Raises InputError where no rule is better than chance.
    """
    known = [line for line in lines if np.isfinite(line.truth)]
    passed = [line for line in known if line.faithful and line.true]
    if known and passed:
        best = max(passed, key=lambda line: line.truth)
        enough = best.truth - best.truth_error
        chosen = next(line for line in passed if line.truth >= enough)
        why = (
            f"agrees with known atoms' shares by {chosen.truth:.2f} +- {chosen.truth_error:.2f}"
            + ("" if chosen is best else f", as {best.rule} does within the error")
        )
    else:  # the truth could not be asked for, or no rule that tells it is faithful
        passed = [line for line in lines if line.faithful]
        if not passed:
            raise InputError(
                "no rule tells this network's reasons better than chance, which says more of the "
                "network than of the rules: train it better, or set explain.rule all the same"
            )
        best = max(passed, key=lambda line: line.flipping)
        enough = best.flipping - best.flipping_error
        chosen = next(line for line in passed if line.flipping >= enough)
        why = "follows the network best" if chosen is best else f"follows it as {best.rule} does"
        why += (
            "; no made-up property was learned, so that none could tell the truth of a rule"
            if not known
            else "; no rule agrees with known atoms' shares better than chance"
        )
    flipping = f"flipping {chosen.flipping:.2g} +- {chosen.flipping_error:.1g}"
    return chosen.rule, f"{why}; {flipping}, 0 is chance"


# ------------------------------------------------------------------------------- on disk


def write_calibration(folder: ModelFolder, calibration: Calibration) -> None:
    """Into the model's folder: the table of all rules (CSV), then the choice (JSON)."""
    text = io.StringIO()
    table = csv.DictWriter(text, [*Line.__struct_fields__, "chosen"], lineterminator="\n")
    table.writeheader()
    for line in calibration.lines:
        chosen = "yes" if line.rule == calibration.rule else ""
        table.writerow({**msgspec.structs.asdict(line), "chosen": chosen})
    choice = msgspec.structs.replace(calibration, lines=())
    write_whole(folder.calibration_table, text.getvalue().encode())
    write_whole(folder.calibration, msgspec.json.format(msgspec.json.encode(choice)))


def read_calibration(folder: ModelFolder) -> Calibration | None:
    """The choice that was made for a network; None where none was.

    Raises InputError where the files are not as ``write_calibration`` leaves them.
    """
    try:
        content = folder.calibration.read_bytes()
        rows = list(csv.DictReader(folder.calibration_table.read_text("utf-8").splitlines()))
    except FileNotFoundError:
        return None
    try:
        choice = msgspec.json.decode(content, type=Calibration)
        lines = tuple(msgspec.convert(row, Line, strict=False) for row in rows)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise InputError(f"{folder.calibration}: is no calibration ({error})") from None
    return msgspec.structs.replace(choice, lines=lines)


def with_rule(settings: ExplainSettings, folder: ModelFolder) -> ExplainSettings:
    """The settings with the rule that "auto" stands for, where nobody is going to measure: the one
    that was found for this network, and ``UNCALIBRATED`` where nobody has looked."""
    if settings.rule != AUTO:
        return settings
    kept = read_calibration(folder)
    return msgspec.structs.replace(settings, rule=UNCALIBRATED if kept is None else kept.rule)


def told(calibration: Calibration) -> str:
    """The choice in one line."""
    return f"rule {calibration.rule}: {calibration.reason}"


def candidates(settings: ExplainSettings) -> list[str]:
    """The rules to ask: all, or those that give interactions where these are wanted."""
    if settings.pairs == "none":
        return list(CANDIDATES)
    return [rule for rule in CANDIDATES if rule not in COMPARATORS]
