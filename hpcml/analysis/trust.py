"""``hpcml analyze --faithfulness``: can a run's explanations be trusted?

Each check is one number with an interval, a limit, and a verdict.  What a network cannot be asked
for is asked of one of its type and size that was trained for a minute on labels whose reasons are
known (``relevance.brief_training``).

conservation   atoms and ledger add up to the prediction
given          to atoms goes most of what is handed out
cancellation   its parts are not many times larger than their sum
removal        without the atoms of the largest relevance the prediction falls, without those of the
               smallest it rises, more than in a random order
randomization  with shuffled weights it is another explanation
matched pairs  of two molecules that differ in one group, that group carries the change
null           where there was nothing to learn no atom stands out
planted bias   a network that is right for the wrong reason is caught
symmetry       atoms that the molecular graph cannot tell apart are worth the same
displacement   it does not hang on a hundredth of an angstrom
rotation       it does not depend on where and how the molecule lies
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from numpy.typing import NDArray
from rdkit import Chem

from hpcml.analysis.account_checks import cancelled, carried, conserved, given
from hpcml.analysis.analyze_stage import Table, write_table
from hpcml.analysis.reasons import reasons_score
from hpcml.analysis.verdicts import (
    Check,
    Question,
    jackknife,
    largest,
    mean,
)
from hpcml.errors import InputError
from hpcml.files import make_folder
from hpcml.relevance.explain_settings import ExplainSettings
from hpcml.relevance.relevance_rows import RelevanceRows
from hpcml.store import Dataset
from hpcml.training.model_folder import ModelFolder

if TYPE_CHECKING:
    from torch import Tensor, nn

    from hpcml.models import Batch, Network
    from hpcml.molecules import Molecule
    from hpcml.relevance.brief_training import Taken
    from hpcml.training.model_file import ModelInfo

_HALF = 0.5
_CALM = 0.1  # of the relevances may change where atoms move by a hundredth of an angstrom
_NOISE = 0.01  # angstrom
_TURNED = 1e-3  # what single precision leaves of the relevances' equality
_SHUFFLINGS = 5
_RANDOM_ORDERS = 5
_PLANTED = 240  # molecules to find a bias in and learn it from
_LEARNED = 0.5  # R2 below which a network has not learned what was planted
MOLECULES = 100
TABLE, CURVES, CASCADE = "trust.csv", "removal.csv", "randomization.csv"


@dataclass(frozen=True)
class _Asked:
    """A network, the way in which it is explained, and molecules to ask it about."""

    model: Network
    info: ModelInfo
    target: int
    settings: ExplainSettings
    taken: list[Taken]
    batch: Batch

    @cached_property
    def relevance(self) -> Tensor:
        """(A,) of the molecules' atoms, target's unit."""
        return self.explain(self.model, self.batch)

    def explain(self, model: nn.Module, batch: Batch, target: int | None = None) -> Tensor:
        """(A,) relevances by the run's rule; of the run's target unless said otherwise."""
        from hpcml.relevance.comparators import explain_by

        chosen = self.target if target is None else target
        return explain_by(model, batch, self.settings, target=chosen).atoms

    @property
    def molecules(self) -> list[Molecule]:
        return [molecule for molecule, _, _ in self.taken]

    @property
    def offsets(self) -> NDArray[np.int64]:
        """(M + 1,) cuts of the atoms."""
        return np.cumsum([0, *(len(one) for one in self.molecules)])


def trust_report(
    dataset: Dataset,
    rows: RelevanceRows,
    model_folder: Path,
    destination: Path,
    settings: ExplainSettings,
    *,
    molecules: int = MOLECULES,
    steps: int | None = None,
    seed: int = 0,
    tell: Callable[[str], None] = lambda line: None,
) -> list[Check]:
    """Ask all checks, and write destination/trust.csv and the tables behind.

    Parameters
    ----------
    dataset
        The data set that was explained.
    rows
        Its relevances: conservation, what is given to atoms, and cancellation are of all of them,
        matched pairs of as many as ``analyze`` looked at.
    model_folder
        Of the network.
    destination
        Where ``analyze`` has left its matched pairs (pairs_summary.csv).
        trust.csv has a line for each check, and the network's checksum; removal.csv the mean
        change of the prediction, target's unit, by the part of the atoms that was taken away;
        randomization.csv the agreement with the trained network's relevances, by the layer down
        to which weights were shuffled.
    settings
        Of the rules; the rule itself is that of the relevances.
    molecules
        Drawn at random from the data set for all other checks.
    steps
        Of the brief trainings.
    tell
        Called with a word before each part of the work.
    """
    from hpcml.relevance.brief_training import STEPS

    steps = STEPS if steps is None else steps
    asked = _asked(dataset, rows, model_folder, settings, molecules=molecules, seed=seed)
    folder = Path(destination)
    make_folder(folder)
    checks = [conserved(rows), given(rows), cancelled(rows), carried(folder)]
    parts: tuple[tuple[str, Callable[[], Check]], ...] = (
        ("removal of atoms", lambda: _removal(asked, folder, seed)),
        ("shuffled weights", lambda: _randomization(asked, folder, seed)),
        ("a network learns noise", lambda: _null(asked, steps, seed)),
        ("a network learns a planted bias", lambda: _planted(asked, dataset, steps, seed)),
        ("symmetry", lambda: _symmetry(asked)),
        ("displacement", lambda: _displacement(asked, seed)),
        ("rotation", lambda: _rotation(asked, seed)),
    )
    for word, ask in parts:
        tell(word)
        checks.append(ask())
    about = {"rule": rows.rule, "network": checksum(model_folder)}
    write_table(folder / TABLE, [{**asdict(check), **about} for check in checks])
    return checks


def checksum(model_folder: Path) -> str:
    """By which a network is known again: twelve digits of SHA-256 of its file, "" of none."""
    network = ModelFolder(model_folder).network
    return hashlib.sha256(network.read_bytes()).hexdigest()[:12] if network.exists() else ""


def _asked(
    dataset: Dataset,
    rows: RelevanceRows,
    model_folder: Path,
    settings: ExplainSettings,
    *,
    molecules: int,
    seed: int,
) -> _Asked:
    """The run's network and rule, and some molecules."""
    from hpcml.models import collate
    from hpcml.relevance.brief_training import molecules_taken
    from hpcml.training.model_file import load_model

    model, info = load_model(model_folder)
    settings = msgspec.structs.replace(settings, rule=rows.rule)
    target = info.targets.index(rows.target)
    taken = molecules_taken(dataset, model, molecules, seed)
    if not taken:
        raise InputError(
            f"{dataset.folder}: no molecule that the network takes and whose bonds are perceived"
        )
    batch = collate([one for _, one, _ in taken], next(model.parameters()).dtype)
    return _Asked(model, info, target, settings, taken, batch)


# ---------------------------------------------------------------------- of the run's network


def _removal(asked: _Asked, folder: Path, seed: int) -> Check:
    import torch

    from hpcml.relevance.measures import flipping

    generator = torch.Generator().manual_seed(seed)
    curves = flipping(asked.model, asked.batch, asked.relevance, target=asked.target)
    chance = [
        flipping(
            asked.model,
            asked.batch,
            torch.randn(asked.batch.atoms, generator=generator, dtype=torch.float64),
            target=asked.target,
        ).positive_first
        for _ in range(_RANDOM_ORDERS)
    ]
    lines = {
        "largest_first": curves.positive_first,
        "smallest_first": curves.negative_first,
        "random": torch.stack(chance).mean(0),
    }
    table: Table = []
    for place, fraction in enumerate(curves.fraction.tolist()):
        line: dict[str, object] = {"fraction": fraction}
        for name, predictions in lines.items():
            change = mean((predictions[place] - predictions[0]).numpy())
            line.update(
                {name: change.value, f"{name}_low": change.low, f"{name}_high": change.high}
            )
        table.append(line)
    write_table(folder / CURVES, table)
    return Question(
        "removal",
        "area between the removal curves, target's unit, mean",
        passes="taking away the atoms it names moves the prediction as it says, beyond chance",
        fails="taking away the atoms it names moves the prediction no better than chance",
    ).above(0.0, mean(curves.area.numpy()))


def _randomization(asked: _Asked, folder: Path, seed: int) -> Check:
    from hpcml.relevance.measures import cascade, within_molecules

    before = asked.relevance.numpy()
    table: Table = []
    left: list[float] = []
    for shuffling in range(_SHUFFLINGS):
        after = asked.relevance
        for name, shuffled in cascade(asked.model, seed=seed + shuffling):
            if shuffling and name != table[-1]["layer"]:
                continue  # one cascade is enough to show; of the others the end counts
            after = asked.explain(shuffled, asked.batch)
            if not shuffling:
                score = reasons_score(after.numpy(), before, asked.offsets)
                line = {"correlation": score.correlation, "low": score.low, "high": score.high}
                table.append({"layer": name, **line})
        left.append(abs(within_molecules(asked.relevance, after, asked.batch.molecule)))
    write_table(folder / CASCADE, table)
    return Question(
        "randomized weights",
        "|correlation| with the relevances of shuffled weights, mean over shufflings",
        passes="with shuffled weights it is another explanation: it depends on what was learned",
        fails="with shuffled weights it stays much as it is: it does not show what was learned",
    ).below(_HALF, mean(np.array(left)))


def _symmetry(asked: _Asked) -> Check:
    from hpcml.relevance.measures import symmetry

    ranks = [Chem.CanonicalRankAtoms(mol, breakTies=False) for _, _, mol in asked.taken]
    classes = np.concatenate([np.array(list(of_one), dtype=np.int64) for of_one in ranks])
    molecule, relevance = asked.batch.molecule.numpy(), asked.relevance.numpy()

    def spread(kept: NDArray[np.bool_]) -> float:
        atoms = kept[molecule]
        return symmetry(relevance[atoms], classes[atoms], molecule[atoms])

    asks = Question(
        "symmetry",
        "spread among equivalent atoms / spread within molecules",
        passes="atoms that the molecular graph cannot tell apart are worth much the same",
        fails="atoms that the molecular graph cannot tell apart are worth different amounts",
    )
    found = jackknife(spread, len(asked.taken))
    return asks.below(_HALF, found) if found.count else asks.untold("no atoms are equivalent")


def _displacement(asked: _Asked, seed: int) -> Check:
    from hpcml.relevance.measures import changes, displaced

    moved = displaced(asked.molecules, _NOISE, seed)
    change = changes(asked.model, asked.molecules, moved, asked.explain)
    return Question(
        "displacement",
        f"|change| / |relevances| where atoms move by {_NOISE:g} angstrom, mean",
        passes="it does not hang on small displacements of the atoms",
        fails="it hangs on displacements smaller than those of the zero-point motion",
    ).below(_CALM, mean(change.numpy()))


def _rotation(asked: _Asked, seed: int) -> Check:
    from hpcml.relevance.measures import changes, turned

    change = changes(asked.model, asked.molecules, turned(asked.molecules, seed), asked.explain)
    return Question(
        "rotation",
        "|change| / |relevances| where molecules are turned and shifted, largest",
        passes="it does not depend on where and how a molecule lies",
        fails="it depends on where or how a molecule lies",
    ).below(_TURNED, largest(change.numpy()))


# ------------------------------------------------------------- of networks trained for a minute


def _null(asked: _Asked, steps: int, seed: int) -> Check:
    from hpcml.relevance.null_test import null_network, spread_within

    examples = [one for _, one, _ in asked.taken]
    network = null_network(asked.model, asked.info, examples, steps=steps, seed=seed)
    batch = asked.batch.to(dtype=next(network.parameters()).dtype)
    relevance = asked.explain(network, batch)
    noise, own = (
        spread_within(values, asked.batch.molecule).numpy()
        for values in (relevance, asked.relevance)
    )
    return Question(
        "null test",
        "spread within molecules, trained on noise / as trained",
        passes="where a network of this build had nothing to learn no atom stands out",
        fails="atoms stand out as much where a network of this build had nothing to learn",
    ).below(_HALF, jackknife(lambda kept: _over(noise[kept].sum(), own[kept].sum()), len(noise)))


def _over(spread: float, own: float) -> float:
    """Their ratio; not known where the network gives its atoms nothing that could stand out."""
    return float(spread / own) if own else math.nan


def _planted(asked: _Asked, dataset: Dataset, steps: int, seed: int) -> Check:
    from hpcml.relevance.brief_training import molecules_taken
    from hpcml.relevance.planted_bias import plant

    asks = Question(
        "planted bias",
        "agreement of explanations with their own reason, less that with the other, mean",
        passes="caught: ",
        fails="not caught: ",
    )
    try:
        taken = molecules_taken(dataset, asked.model, _PLANTED, seed)
        planted = plant(asked.info, taken, steps=steps, seed=seed)
    except InputError as error:
        return asks.untold(str(error))
    if min(planted.learned) < _LEARNED:
        return asks.untold(
            f"in {steps} steps a network of this build did not learn it (R2 "
            f"{min(planted.learned):.2f})"
        )
    right, wrong = (
        asked.explain(planted.model, planted.batch, target).numpy() for target in (0, 1)
    )
    told = planted.agreements(right, wrong)
    shortcut, cause, honest = (
        float(np.nanmean(values))
        for values in (told.wrong_shortcut, told.wrong_cause, told.right_cause)
    )
    case = (
        f"a network that says {planted.cause} by counting {planted.shortcut} (R2 "
        f"{planted.right:.2f} where they go together, {planted.wrong:.2f} elsewhere) agrees with "
        f"{planted.shortcut} by {shortcut:.2f}, with {planted.cause} by {cause:.2f}; one that "
        f"counts {planted.cause} agrees with it by {honest:.2f}"
    )
    asks = replace(asks, passes=asks.passes + case, fails=asks.fails + case)
    return asks.above(0.0, mean(told.contrast))


def lines(checks: list[Check]) -> Iterator[str]:
    """The report for the screen: verdict, number with interval, and what it says."""
    width = max(len(check.check) for check in checks)
    for check in checks:
        interval = "" if np.isnan(check.low) else f" ({check.low:.2g} to {check.high:.2g})"
        number = "" if np.isnan(check.value) else f"{check.value:.2g}{interval}; "
        yield f"{check.verdict:<6}  {check.check:<{width}}  {number}{check.says}"
