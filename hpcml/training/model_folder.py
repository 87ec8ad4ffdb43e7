"""What lies where in a model folder, and the parts of the split that its tables speak of."""

from __future__ import annotations

from pathlib import Path

PARTS = ("train", "validation", "test")
"""Parts of a split, in the order of tables and figures."""


class ModelFolder:
    """The paths of a model folder, the one place that knows them.

    ::

        FOLDER/settings.json       TrainSettings       FOLDER/predictions.csv     of every row
        FOLDER/split.json          which row is where  FOLDER/learning_curve.csv  by training size
        FOLDER/checkpoint.pt       to go on from       FOLDER/baselines.csv       what to beat
        FOLDER/model.pt            the network         FOLDER/ensemble.csv        with uncertainties
        FOLDER/metrics.csv         by epoch            FOLDER/ensemble.json       their calibration
        FOLDER/metrics.json        final numbers: the mark of a finished run
        FOLDER/calibration.json    the rule chosen for its relevances, and why
        FOLDER/calibration.csv     what every rule is worth
        FOLDER/epoch-N/model.pt    the network after an epoch that was to be kept

    Members of an ensemble and sizes of a learning curve have folders of the same kind within.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.settings = self.path / "settings.json"
        self.split = self.path / "split.json"
        self.checkpoint = self.path / "checkpoint.pt"
        self.network = self.path / "model.pt"
        self.curve = self.path / "metrics.csv"
        self.metrics = self.path / "metrics.json"
        self.predictions = self.path / "predictions.csv"
        self.learning_curve = self.path / "learning_curve.csv"
        self.baselines = self.path / "baselines.csv"
        self.ensemble_table = self.path / "ensemble.csv"
        self.ensemble = self.path / "ensemble.json"
        self.calibration = self.path / "calibration.json"
        self.calibration_table = self.path / "calibration.csv"
        self.tensorboard = self.path / "tensorboard"

    def member(self, number: int) -> ModelFolder:
        """The folder of a member of the ensemble; the first is the folder itself."""
        return self if number == 0 else ModelFolder(self.path / f"member-{number}")

    def epoch(self, number: int) -> ModelFolder:
        """The folder of the network as it was validated after an epoch."""
        return ModelFolder(self.path / f"epoch-{number}")

    def size(self, rows: int) -> ModelFolder:
        """The folder of the network that was trained on the first so many rows."""
        return ModelFolder(self.path / f"size-{rows}")
