import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from hpcml.report import Averages, Curve, Predictions, ReportFacts, figures
from hpcml.report.style import INK

SVG = "{http://www.w3.org/2000/svg}"


def texts(svg: str) -> list[str]:
    return ["".join(element.itertext()) for element in ET.fromstring(svg).iter(f"{SVG}text")]


def every_figure(facts: ReportFacts) -> dict[str, str]:
    assert facts.curve is not None
    assert facts.learning is not None
    sizes = np.array([1e3, 1e4, 1e5])
    return {
        "a": figures.parity(facts.predictions[0], "a"),
        "b": figures.training_curve(facts.curve, 8.0, "b"),
        "c": figures.averages(facts.averages[0], "c"),
        "d": figures.stage_times(facts.seconds, "d"),
        "f": figures.learning_curve(facts.learning, "f"),
        "e": figures.lines(
            sizes, {"Weave": 90 / sizes, "<b>$": 50 / sizes}, x_label="n", y_label="MAE", name="e"
        ),
    }


def test_figures_are_single_elements_in_the_colour_of_the_page(facts: ReportFacts) -> None:
    for name, svg in every_figure(facts).items():
        root = ET.fromstring(svg)
        assert root.tag == f"{SVG}svg"
        assert root.get("role") == "img"
        assert root.get("aria-label")
        assert "currentColor" in svg
        assert INK not in svg
        assert "<metadata" not in svg
        ids = re.findall(r'\bid="([^"]+)"', svg)
        assert ids
        assert len(ids) == len(set(ids))
        assert all(each.startswith(f"{name}-") for each in ids)
        used = re.findall(r'(?:href="#|url\(#)([^")]+)', svg)
        assert set(used) <= set(ids)


def test_the_same_figure_is_the_same_text(facts: ReportFacts) -> None:
    assert every_figure(facts) == every_figure(facts)


def test_parity_draws_every_molecule_where_its_numbers_say() -> None:
    reference = np.array([1.0, 2.0, 3.0])
    predictions = Predictions("q", "u", np.array(["test"] * 3), reference, reference[::-1])
    root = ET.fromstring(figures.parity(predictions))
    marks = [
        (float(use.get("x", "nan")), float(use.get("y", "nan")))
        for group in root.iter(f"{SVG}g")
        if group.get("id", "").endswith("PathCollection_1")
        for use in group.iter(f"{SVG}use")
    ]
    assert len(marks) == 3
    x, y = np.array(marks).T  # y runs downwards
    assert np.diff(x) == pytest.approx([x[1] - x[0]] * 2)
    assert np.diff(y) == pytest.approx(np.diff(x), rel=1e-3)  # falling: down on the screen


def test_parity_of_many_is_a_sample() -> None:
    values = np.linspace(0, 1, 50_000)
    predictions = Predictions("q", "u", np.array(["train"] * 50_000), values, values)
    svg = figures.parity(predictions)
    assert svg.count("<use ") < figures.MOST_POINTS + 100
    assert "train (50,000)" in texts(svg)


def test_numbers_on_a_logarithmic_axis_are_plain(facts: ReportFacts) -> None:
    assert facts.curve is not None
    shown = texts(figures.training_curve(facts.curve, 8.0))
    assert {"1", "10", "epoch", "mean predictor"} <= set(shown)
    assert not any("10^" in text or "mathdefault" in text for text in shown)
    assert any("0.7 at epoch 30" in text for text in shown)


@pytest.mark.parametrize("values", [[0.0, 0.0], [1.0, np.nan], [2.0, 2.0], [5.0]])
def test_curves_that_are_hard_to_draw(values: list[float]) -> None:
    y = np.array(values)
    curve = Curve(np.arange(1, len(y) + 1), y, y, "u")
    assert "epoch" in texts(figures.training_curve(curve, baseline=None))


def test_flat_predictions_can_be_drawn() -> None:
    same = np.full(3, 7.0)
    predictions = Predictions("q", "", np.array(["train"] * 3), same, same)
    assert "predicted q" in texts(figures.parity(predictions))


def test_averages_name_every_kind_with_its_count(facts: ReportFacts) -> None:
    assert {"H  (90)", "C  (40)"} <= set(texts(figures.averages(facts.averages[0])))
    no_shares = Averages("t", "u", "group", ("H",), np.array([1]), np.array([1.0]), np.array([0.0]))
    assert not any("share" in text for text in texts(figures.averages(no_shares)))


def test_stage_times_are_labelled() -> None:
    assert {"generate", "2 min 15 s"} <= {
        text.strip() for text in texts(figures.stage_times({"generate": 135.0, "train": 3.0}))
    }
