import json
from pathlib import Path

import numpy as np
import pytest

from hpcml.errors import InputError
from hpcml.report.learning import comparisons, learning_curve
from hpcml.training import Target
from hpcml.training.ensemble import write_ensemble
from hpcml.training.model_folder import ModelFolder

ONE = {Target(name="alpha_iso"): "a₀³"}
TWO = {**ONE, Target(name="zpve"): "Eₕ"}


def test_nothing_where_training_wrote_nothing(tmp_path: Path) -> None:
    assert learning_curve(ModelFolder(tmp_path), ONE) is None
    assert comparisons(ModelFolder(tmp_path), ONE) == ()


def test_curve_and_baselines_are_those_of_the_files(tmp_path: Path) -> None:
    (tmp_path / "learning_curve.csv").write_text(
        "train_rows,validation_mae,test_mae,unit,epochs,seconds\n"
        "1000,0.7,0.64,a0^3,150,822\n5000,0.5,0.44,a0^3,30,509\n"
    )
    (tmp_path / "baselines.csv").write_text(
        "baseline,train_rows,test_rows,not_predicted,test_mae,unit\n"
        'mean,5000,10000,0,6.325,a0^3\n"kernel ridge, bonds",2000,10000,43,0.98,a0^3\n'
        "nothing,5000,10000,10000,,a0^3\n"
    )
    curve = learning_curve(ModelFolder(tmp_path), ONE)
    assert curve is not None
    assert curve.rows.tolist() == [1000, 5000]
    assert np.allclose(curve.test_mae, [0.64, 0.44])
    assert curve.baselines == {"mean": (5000, 6.325), "kernel ridge, bonds": (2000, 0.98)}
    (table,) = comparisons(ModelFolder(tmp_path), ONE)
    assert table.rows[1] == ("kernel ridge, bonds", "2,000", "9,957", "0.9800")
    assert table.rows[2][-1] == "\N{EN DASH}"


def test_each_target_has_its_own_column(tmp_path: Path) -> None:
    (tmp_path / "learning_curve.csv").write_text(
        "train_rows,test_mae_alpha_iso,test_mae_zpve\n100,2.0,0.01\n"
    )
    curve = learning_curve(ModelFolder(tmp_path), TWO)
    assert curve is not None
    assert curve.test_mae.tolist() == [2.0]
    (tmp_path / "baselines.csv").write_text(
        "baseline,train_rows,test_rows,not_predicted,test_mae_alpha_iso,test_mae_zpve\n"
        "mean,80,10,0,6.0,0.03\n"
    )
    (table,) = comparisons(ModelFolder(tmp_path), TWO)
    assert len(table.columns) == len(table.rows[0]) == 5


def test_an_ensemble_as_training_writes_it(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    reference = rng.normal(size=200)
    for number in range(3):
        folder = tmp_path if number == 0 else tmp_path / f"member-{number}"
        folder.mkdir(exist_ok=True)
        rows = [
            f"{row:032d},{'validation' if row < 100 else 'test'},{value},{value + error}"
            for row, (value, error) in enumerate(
                zip(reference, rng.normal(scale=0.1, size=200), strict=True)
            )
        ]
        text = "\n".join(["key,part,reference,predicted", *rows])
        (folder / "predictions.csv").write_text(text + "\n")
    found = write_ensemble(ModelFolder(tmp_path), 3, ["alpha_iso"])
    (table,) = comparisons(ModelFolder(tmp_path), ONE)
    assert table.title == "Ensemble"
    assert len(table.columns) == len(table.rows[0])
    mean = found["targets"]["alpha_iso"]["mean"]["mae"]
    alone, together = (float(cell.split()[0]) for cell in table.rows[0][1:3])
    assert together == pytest.approx(mean, rel=1e-3)
    assert together < alone


def test_a_torn_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "ensemble.json").write_text(json.dumps([1]))
    with pytest.raises(InputError, match=r"ensemble\.json"):
        comparisons(ModelFolder(tmp_path), ONE)
