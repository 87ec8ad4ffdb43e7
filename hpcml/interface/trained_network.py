"""Networks trained, loaded, asked, and asked for their reasons, in one line each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from hpcml.analysis.reasons import Score
from hpcml.analysis.reasons import reasons_score as score_of
from hpcml.analysis.reasons_table import split_parts
from hpcml.errors import InputError
from hpcml.interface.given_molecules import Many, One, as_molecules
from hpcml.interface.predictions import Explained, Predicted
from hpcml.models import collate, example
from hpcml.molecules import Molecule
from hpcml.relevance import ExplainSettings, cancellation
from hpcml.relevance.explain_settings import AUTO, target_index
from hpcml.relevance.of_ensemble import MeanRelevance, mean_relevance
from hpcml.relevance.rule_choice import with_rule
from hpcml.store import Dataset
from hpcml.training.applicability import applicability
from hpcml.training.ensemble import Ensemble, load_ensemble
from hpcml.training.metrics import read_metrics
from hpcml.training.model_folder import ModelFolder
from hpcml.training.targets import all_told
from hpcml.training.train_settings import TrainSettings
from hpcml.training.train_stage import train as train_into
from hpcml.training.world import Alone

_AT_ONCE = 64


@dataclass(frozen=True, eq=False)
class TrainedNetwork:
    """A network, or an ensemble of them, in its folder.

    folder      where it lies
    ensemble    its members, and what is known of them (``ensemble.info``)
    """

    folder: Path
    ensemble: Ensemble

    @property
    def metrics(self) -> dict[str, Any]:
        """The numbers of its training, as in metrics.json; errors by target and part."""
        found = read_metrics(ModelFolder(self.folder))
        if found is None:
            raise InputError(f"{self.folder}: no metrics.json: the network was not trained here")
        return found

    def predict(self, molecules: One | Many) -> Predicted:
        """Predictions for a molecule, a SMILES, several of them, or a file (a ``Path``).

        Raises InputError for a molecule that the network's features cannot be made for.
        """
        several, info = as_molecules(molecules), self.ensemble.info
        values, _ = self.ensemble.predict(several)
        return Predicted(
            molecules=several,
            values=dict(zip(info.labels, values.T, strict=True)),
            units=dict(zip(info.labels, info.units, strict=True)),
            warnings=[applicability(info, one) for one in several],
        )

    def explain(self, molecules: One | Many, rule: str = AUTO, target: str = "") -> Explained:
        """What each atom was worth to the predictions for these molecules.

        rule      "auto": the one that ``hpcml calibrate`` chose for this network, and gamma where
                  nobody has looked
        target    label of the target, for a network of several; "" is the first

        Of an ensemble the members' mean.  Raises InputError where the rule cannot explain it.
        """
        several, info = as_molecules(molecules), self.ensemble.info
        column = target_index(info.targets, target)
        settings = with_rule(ExplainSettings(rule=rule), ModelFolder(self.folder))
        parts = [
            self._explained(several[start : start + _AT_ONCE], settings, column)
            for start in range(0, len(several), _AT_ONCE)
        ]
        offsets = np.cumsum([0, *(len(one) for one in several)])
        prediction, atoms, booked, ledger = (
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("prediction", "atoms", "booked", "ledger")
        )
        return Explained(
            molecules=several,
            target=info.labels[column],
            unit=info.units[column],
            rule=settings.rule,
            prediction=all_told([info.targets[column]], prediction[:, None])[:, 0],
            atoms=np.split(atoms, offsets[1:-1]),
            booked=np.split(booked, offsets[1:-1]),
            cancellation=cancellation(atoms, ledger, offsets),
        )

    def _explained(
        self, molecules: list[Molecule], settings: ExplainSettings, column: int
    ) -> MeanRelevance:
        models = self.ensemble.models
        examples = [example(one, models[0].inputs) for one in molecules]
        batch = collate(examples, next(models[0].parameters()).dtype)
        return mean_relevance(models, batch, settings, target=column)

    def __repr__(self) -> str:
        info = self.ensemble.info
        return f"TrainedNetwork({info.model} on {', '.join(info.labels)}, {str(self.folder)!r})"


def train(
    dataset: Dataset | Path | str,
    folder: Path | str,
    *,
    model: str = "painn",
    target: str = "alpha_iso",
    epochs: int = 100,
    settings: TrainSettings | None = None,
) -> TrainedNetwork:
    """Train a network on a data set in this process, or go on with what the folder holds.

    Parameters
    ----------
    dataset
        Opened, or its folder.
    folder
        Where the network, its split and its numbers are written.
    model, target, epochs
        As in ``TrainSettings``.
    settings
        All of them instead; its ranks are not started (``hpcml train`` does that).

    Raises InputError and SettingsError as ``hpcml train`` does.

    >>> import hpcml
    >>> network = hpcml.train("jobs/study/small", getfixture("tmp_path"), model="linear", epochs=2)
    >>> network.metrics["errors"]["alpha_iso"]["unit"]
    'a0^3'
    """
    wanted = settings or TrainSettings(model=model, target=target, epochs=epochs)
    opened = dataset if isinstance(dataset, Dataset) else Dataset.open(dataset)
    train_into(opened, Path(folder), msgspec.structs.replace(wanted, ranks=1), Alone())
    return load_model(folder)


def load_model(folder: Path | str) -> TrainedNetwork:
    """The network, the ensemble, or the published ANI network in a folder.

    Raises InputError where there is none.
    """
    return TrainedNetwork(Path(folder), load_ensemble(folder))


def reasons_score(
    network: TrainedNetwork,
    dataset: Dataset | Path | str,
    *,
    rule: str = AUTO,
    part: str = "test",
) -> Score:
    """How far relevances agree with the shares that physics assigns, within molecules.

    Composition (elements) is removed; see ``hpcml.analysis.reasons``.  Raises InputError where the
    data set has no shares of the target, or the part is empty.

    Parameters
    ----------
    network
        As of ``train`` or ``load_model``; its first target is asked about.
    dataset
        With shares of that target.
    rule
        See ``TrainedNetwork.explain``.
    part
        Of the network's split that is scored; "all" for every row.
    """
    opened = dataset if isinstance(dataset, Dataset) else Dataset.open(dataset)
    target = network.ensemble.info.targets[0]
    if target.share_name not in opened.columns:
        raise InputError(
            f"{opened.folder}: no column {target.share_name}: compute it with "
            'properties = [..., "shares"]'
        )
    whole = np.full(len(opened), part == "all")
    opened = opened.subset(split_parts(opened, network.folder).get(part, whole))
    if not len(opened):
        raise InputError(f"{opened.folder}: no row of the network's part {part!r}")
    explained = network.explain(list(opened.molecules), rule)
    return score_of(
        np.concatenate(explained.atoms),
        opened.column(target.share_name),
        opened.atom_offsets,
        kinds=opened.column("numbers").astype(np.int64),
    )
