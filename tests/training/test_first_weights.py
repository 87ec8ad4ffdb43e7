"""The weights that a run began with can be had again."""

import msgspec
import numpy as np

from hpcml.analysis.weight_tables import analyze_weights
from hpcml.training import TrainSettings, train
from hpcml.training.world import Alone

SETTINGS = TrainSettings(
    hyperparameters={"layers": 1, "hidden": 8, "representation": 8, "fully_connected": [16]},
    epochs=1,
    batch_size=64,
    seed=5,
)


def test_a_run_that_learns_nothing_still_has_its_first_weights(dataset, tmp_path) -> None:
    """Drawn anew from the seed in the folder, they are those that training did not move."""
    still = msgspec.structs.replace(SETTINGS, learning_rate=1e-30)
    train(dataset, tmp_path, still, Alone())
    for one in analyze_weights(tmp_path).spectra.values():
        np.testing.assert_array_equal(one.values, one.initial)
