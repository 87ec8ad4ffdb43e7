import numpy as np
import pytest

from hpcml.report import Predictions, errors


def predictions(parts: list[str], reference: list[float], predicted: list[float]) -> Predictions:
    return Predictions("x", "u", np.array(parts), np.array(reference), np.array(predicted))


def test_errors_by_hand() -> None:
    """Test rows 2, 4, 6 predicted 2, 5, 4: errors 0, 1, 2; squares about their mean 8."""
    rows = errors(
        predictions(["test", "train", "test", "train", "test"], [2, 0, 4, 6, 6], [2, 0, 5, 6, 4])
    )
    assert [row.part for row in rows] == ["train", "test"]
    train, test = rows
    assert (train.mae, train.rmse, train.r2, train.mean_predictor_mae) == (0, 0, 1, 3)
    assert test.molecules == 3
    assert test.mae == pytest.approx(1.0)
    assert test.rmse == pytest.approx(np.sqrt(5 / 3))
    assert test.r2 == pytest.approx(1 - 5 / 8)
    assert test.mean_predictor_mae == pytest.approx((1 + 1 + 3) / 3)  # training mean 3


def test_r2_is_that_of_a_perfect_fit_of_the_mean() -> None:
    """Saying the part's own mean gives R2 = 0, worse than it less than 0."""
    (row,) = errors(predictions(["test"] * 4, [1, 2, 3, 4], [2.5] * 4))
    assert row.r2 == pytest.approx(0.0)
    (row,) = errors(predictions(["test"] * 4, [1, 2, 3, 4], [9.0] * 4))
    assert row.r2 < 0


def test_one_row_has_no_r2() -> None:
    (row,) = errors(predictions(["validation"], [1], [2]))
    assert np.isnan(row.r2)
    assert row.mae == 1
