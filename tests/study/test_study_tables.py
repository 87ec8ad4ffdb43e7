"""The tables of a study, by hand."""

import numpy as np
import pytest
from scipy import stats

from hpcml.study import study_tables
from hpcml.study.cells import Cell
from hpcml.study.results import Result, SetError, SetScore
from hpcml.study.study_figures import study_figures
from hpcml.study.study_summary import summary

MAE = {0.0: [1.0, 1.2, 1.1], 1.0: [0.8, 1.1, 0.9]}


def result(seed: int, weight: float, split: str = "random") -> Result:
    mae = MAE[weight][seed - 1]
    errors = [("validation", "in", 0.9 * mae), ("test", "in" if split == "random" else "out", mae)]
    errors.append(("nine", "out", 2.0 * mae))
    scored = [name for name, _, _ in errors if name != "validation" or split != "random"]
    return Result(
        cell=Cell(
            network="dtnn", target="alpha_iso", split=split, size=0, seed=seed, share_weight=weight
        ),
        unit="a0^3",
        train_rows=200,
        parameters=10,
        epochs=5,
        train_seconds=1.0,
        explain_seconds=1.0,
        errors=tuple(
            SetError(set=name, role=role, molecules=40, mae=error, r2=0.9)
            for name, role, error in errors
        ),
        scores=tuple(
            SetScore(
                set=name,
                attribution="auto",
                rule="gamma",
                explained=40,
                score=0.5 + 0.1 * weight + 0.01 * seed - 0.2 * (name == "nine"),
                low=0.4,
                high=0.6,
                rank=None,
                rank_low=None,
                rank_high=None,
                score_kept=0.9,
                rank_kept=0.8,
                rank_merged=0.7,
                cancellation=1.5,
            )
            for name in scored
        ),
        trained_by={},
        explained_by={},
    )


GRID = study_tables.grid(result(seed, weight) for weight in (0.0, 1.0) for seed in (1, 2, 3))


def test_the_grid_has_a_line_for_each_set_and_attribution_and_one_where_there_is_no_score() -> None:
    assert len(GRID) == 6 * 3
    bare = [one for one in GRID if one["set"] == "validation"]
    assert {(one["attribution"], one["score"]) for one in bare} == {("", None)}
    assert {one["mae"] for one in bare} == {0.9 * one for of in MAE.values() for one in of}


def test_seeds_stand_beside_the_interval_over_molecules() -> None:
    lines = study_tables.seeds(GRID)
    line = next(one for one in lines if one["set"] == "test" and not one["share_weight"])
    assert line["seeds"] == 3 and line["rule"] == "gamma"
    assert line["mae_mean"] == pytest.approx(1.1)
    assert line["mae_sd"] == pytest.approx(0.1)
    assert line["score_sd"] == pytest.approx(0.01)
    assert line["score_half_interval"] == pytest.approx(0.1)
    assert line["rank_mean"] is None


def test_the_causal_question_is_paired_by_seed() -> None:
    lines = {(one["set"], one["quantity"]): one for one in study_tables.causal(GRID)}
    error, score = lines["test", "mae"], lines["test", "score"]
    before, after = np.array(MAE[0.0]), np.array(MAE[1.0])
    assert error["difference"] == pytest.approx((after - before).mean())
    assert error["p"] == pytest.approx(stats.ttest_rel(after, before).pvalue)
    low, high = stats.ttest_rel(after, before).confidence_interval()
    assert (error["low"], error["high"]) == pytest.approx((low, high))
    assert error["relative"] == pytest.approx((after - before).mean() / before.mean())
    assert score["difference"] == pytest.approx(0.1) and score["attribution"] == "auto"
    assert ("test", "rank") not in lines  # there is none to tell of
    assert error["p_holm"] >= error["p"]


def test_transfer_is_held_against_molecules_like_the_training_molecules() -> None:
    lines = study_tables.transfer(GRID)
    line = next(one for one in lines if not one["share_weight"])
    assert (line["set"], line["set_in"]) == ("nine", "test")
    assert line["error_ratio"] == pytest.approx(2.0)
    assert line["score_drift"] == pytest.approx(-0.2)
    by_scaffold = study_tables.grid(result(seed, 0.0, "scaffold") for seed in (1, 2, 3))
    told = {(one["set"], one["set_in"]) for one in study_tables.transfer(by_scaffold)}
    assert told == {("test", "validation"), ("nine", "validation")}


def test_there_is_a_picture_of_what_there_is_a_table_of() -> None:
    tables = {"grid": GRID, "seeds": study_tables.seeds(GRID), "controls": [], "claim": []}
    tables["causal"] = study_tables.causal(GRID)
    drawn = study_figures(tables)
    assert set(drawn) == {"scores", "attributions", "causal", "claim"}
    assert all(svg.lstrip().startswith(b"<?xml") for svg in drawn.values())
    assert drawn == study_figures(tables)  # the same bytes again


def test_the_summary_tells_error_score_transfer_and_what_shares_change() -> None:
    ranked = [{**one, "rank": one["score"]} for one in GRID]
    tables = {"grid": ranked, "seeds": study_tables.seeds(ranked), "claim": []}
    tables["causal"] = study_tables.causal(ranked)
    tables["controls"] = [
        {"control": "random", "target": "alpha_iso", "split": "random", "set": "test",
         "network": "", "attribution": "", "rank": 0.021}
    ]  # fmt: skip
    text = summary("small", tables)
    error = "| dtnn | 200 | 1.10 ± 0.1 | 0.900 ± 0.000 | 0.52 ± 0.01 (gamma, chosen) |"
    assert f"{error} 0.52 (auto) | - | - | - |" in text
    assert "| random: nine | 2.20 ± 0.2; 0.32 ± 0.01 |" in text  # on the nine
    assert "random 0.02." in text
    change = next(
        one for one in tables["causal"] if (one["set"], one["quantity"]) == ("test", "mae")
    )
    assert f"| random: test | {100 * change['relative']:+.0f} % (" in text
    assert "Of 0 tests in claim.csv 0 have p below 0.05" in text


def test_each_property_is_shown_on_its_own_first_split() -> None:
    others = [{**one, "target": "zpve", "split": "vibrations"} for one in GRID]
    lines = study_tables.seeds([*GRID, *others])
    drawn = study_figures(
        {"grid": [*GRID, *others], "seeds": lines, "controls": [], "causal": [], "claim": []}
    )
    assert b"alpha_iso" in drawn["scores"] and b"zpve" in drawn["scores"]
