import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hpcml.analysis import analyze
from hpcml.cluster.run_folder import RunFolder
from hpcml.errors import InputError
from hpcml.generation import failures
from hpcml.report import build, collect
from hpcml.report.gallery import choose
from hpcml.report.utilization import busy, utilization
from hpcml.store import Dataset

Write = Callable[[RunFolder, Dataset], None]
WORTH = {1: 1.5, 6: 8.0, 7: 6.0, 8: 4.5}  # as in conftest.py


def test_a_data_set_alone(run: RunFolder) -> None:
    facts = collect(run, run.dataset)
    assert (facts.title, facts.level, facts.computed) == ("first-run", "HF/6-31G(d)", 30)
    assert facts.predictions == ()
    assert facts.curve is None
    assert facts.explanation is None
    assert facts.seconds == {}
    assert facts.provenance["Data set"]["rows"] == "30"
    assert facts.provenance["Calculations"] == {  # what all rows have in common
        "method": "HF",
        "basis name": "6-31G(d)",
        "basis spherical": "False",
    }
    assert build(facts, run.report_page).exists()


def test_no_data_set(tmp_path: Path) -> None:
    empty = RunFolder(tmp_path / "empty")
    with pytest.raises(InputError, match="no data set here"):
        collect(empty, empty.dataset)


def test_everything(run: RunFolder, write_model: Write, write_relevance: Write) -> None:
    data = Dataset.open(run.dataset)
    write_model(run, data)
    write_relevance(run, data)
    run.campaign_toml.write_text('name = "mine"\n[versions]\nhpcml = "0.1"\n')
    (run.logs / "timings.json").write_text('{"generate": 10.5, "train": 2}')
    failures.write(
        run.failures,
        [failures.Failure(key="k", name="bad", cause="convergence", message="no", tries=3)],
    )
    facts = collect(run, run.dataset)

    assert facts.title == "mine"
    assert facts.seconds == {"generate": 10.5, "train": 2.0}
    assert [(f.name, f.cause, f.message) for f in facts.failures] == [("bad", "convergence", "no")]
    assert facts.provenance["Versions"] == {"hpcml": "0.1"}
    assert facts.curve is not None
    assert facts.curve.validation_mae.tolist() == [3.0, 1.5]
    (predictions,) = facts.predictions
    assert (predictions.quantity, predictions.unit) == ("isotropic polarizability", "a₀³")
    assert (predictions.parts == "test").sum() == 10

    explanation = facts.explanation
    assert explanation is not None
    assert (explanation.rule, explanation.molecules) == ("epsilon", 29)
    assert explanation.closure == pytest.approx(1e-3 / data.scalar("alpha_iso")[4], rel=1e-3)
    assert explanation.cancellation.shape == (30,)
    assert len(facts.gallery) == 30
    assert [one.part for one in facts.gallery] == ["test"] * 10 + ["train"] * 20
    names = list(data.texts("name"))
    for one in facts.gallery:
        row = names.index(one.molecule.name)
        assert one.row == row
        assert one.reference == data.scalar("alpha_iso")[row]
        if row == 5:  # could not be explained
            assert len(one.relevance) == 0
            continue
        assert one.share.tolist() == data.value("share_alpha_iso", row).tolist()
        expected = [WORTH[number] - 0.5 for number in one.molecule.numbers.tolist()]
        assert one.relevance == pytest.approx(expected)
        assert one.ledger == {"biases": 0.5 * len(one.molecule)}
        left = one.prediction - one.relevance.sum() - sum(one.ledger.values())
        assert left == pytest.approx(1e-3 if row == 4 else 0.0, abs=1e-9)
    assert facts.worth == pytest.approx(WORTH)  # alpha was made of these
    by_size, by_element = facts.residuals
    assert sum(len(errors) for errors in by_size.kinds.values()) == 10
    assert len(by_element.kinds["H"]) <= 10
    assert set(explanation.terms) == {"biases"}
    assert build(facts, run.report_page).stat().st_size > 50_000


def test_tables_of_the_analysis(run: RunFolder, write_model: Write, write_relevance: Write) -> None:
    """Relevances are the shares less 0.5 an atom, so that within molecules they agree fully."""
    data = Dataset.open(run.dataset)
    write_model(run, data)
    write_relevance(run, data)
    analyze(data, run.relevance, run.model, run.analysis)
    facts = collect(run, run.dataset)

    elements, groups = facts.averages
    at = elements.names.index("C")
    assert elements.mean[at] == pytest.approx(7.5)
    assert elements.spread[at] == pytest.approx(0.0, abs=1e-9)
    assert elements.shares is not None
    assert elements.shares[at] == pytest.approx(8.0)
    assert (elements.unit, elements.per, groups.per) == ("a₀³", "atom", "group")
    methyl = groups.names.index("methyl")
    assert groups.mean[methyl] == pytest.approx(8.0 + 3 * 1.5 - 4 * 0.5)
    assert len(groups.names) <= 14
    assert groups.counts.min() >= 1

    assert facts.reasons is not None
    assert facts.reasons.part == "test"
    heading, rows = facts.reasons.table.columns, facts.reasons.table.rows
    kept = next(row for row in rows if row[:3] == ("all atoms", "test", "kept"))
    assert kept[heading.index("score")] == "1.00"
    assert {row[1] for row in rows} == {"all", "test"}
    controls = [row for row in rows if row[0].startswith(("control: ", "ceiling: "))]
    assert {row[1:3] for row in controls} == {("test", "removed")}
    assert {row[0] for row in controls} >= {
        *("control: random (all atoms)", "control: isomer's shares (all atoms)"),
        *(
            "ceiling: additive fit (all atoms)",
            "control: hydrogens (heavy atoms with their hydrogens)",
        ),
    }
    conservation, pairs = facts.tables
    carried = {row[:2]: row[pairs.columns.index("carried")] for row in pairs.rows}
    assert carried["share on the group and the property", "kept"] == "1.00"
    assert [row[0] for row in conservation.rows][:3] == ["prediction", "atoms", "biases"]
    assert build(facts, run.report_page).exists()


def test_several_targets_have_columns_of_their_own(run: RunFolder) -> None:
    run.model.mkdir()
    errors = {
        "zpve": {"target": {"name": "zpve"}, "unit": "Eh"},
        "alpha_iso": {"target": {"name": "alpha_iso"}, "unit": "a0^3"},
    }
    (run.model / "metrics.json").write_text(json.dumps({"errors": errors}))
    (run.model / "predictions.csv").write_text(
        "key,part,reference_zpve,reference_alpha_iso,predicted_zpve,predicted_alpha_iso\n"
        "a,train,1,2,3,4\nb,test,5,6,7,8\n"
    )
    zpve, alpha = collect(run, run.dataset).predictions
    assert (zpve.quantity, zpve.unit, zpve.predicted.tolist()) == (
        "zero-point energy",
        "Eₕ",
        [3, 7],
    )
    assert alpha.reference.tolist() == [2, 6]


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("metrics.json", "{", "is not JSON"),
        ("metrics.json", "[]", "expected a JSON object"),
        ("predictions.csv", "key,part\na,train\n", "expected a column 'reference'"),
        ("predictions.csv", "key,part,reference,predicted\na,train,1\n", "has not the 4 columns"),
        ("predictions.csv", "key,part,reference,predicted\na,test,x,1\n", "column 'reference'"),
    ],
)
def test_a_damaged_file_is_named(
    run: RunFolder, file: str, text: str, message: str, write_model: Write
) -> None:
    write_model(run, Dataset.open(run.dataset))
    (run.model / file).write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        collect(run, run.dataset)
    assert file in str(caught.value)


def test_a_damaged_table_is_named(run: RunFolder) -> None:
    run.analysis.mkdir()
    (run.analysis / "elements.csv").write_text("element,count\nH,3\n")
    with pytest.raises(InputError, match=r"elements\.csv: expected a column 'relevance_mean'"):
        collect(run, run.dataset)


def test_choice_goes_through_the_splits_and_keeps_both_ends() -> None:
    splits = np.array(["train"] * 6 + ["test"] * 5 + ["validation"])
    error = np.array([6.0, 5, 4, 3, 2, 1, 9, 7, 8, 5, 6, 0])
    assert choose(splits, error, 5).tolist() == [9, 7, 6, 11, 5]  # six tenths of them test
    assert choose(splits, error, 100).tolist() == [9, 10, 7, 8, 6, 11, 5, 4, 3, 2, 1, 0]
    error[6] = np.nan
    assert choose(splits, error, 5).tolist() == [9, 7, 6, 11, 5]  # without an error: last
    assert choose(splits, error, 0).size == 0


def test_time_of_the_ranks_is_that_inside_calculations() -> None:
    edges = np.array([0.0, 1.0, 2.0, 4.0])
    assert busy(np.array([[1.5, 3.0], [0.0, 0.25]]), edges).tolist() == [0.25, 0.5, 0.5]


def test_tasks_are_laid_end_to_end_and_blocks_below_each_other(tmp_path: Path) -> None:
    heading = "key,rank,start,end,busy,size,outcome\n"
    for name, lines in (
        ("a", "k,0,100,110,10,9,done\nk,1,100,105,5,9,convergence\nk,1,105,1"),  # cut short
        ("b", "k,0,104,110,6,9,done\n"),  # a block beside it
        ("c", "k,0,900,910,10,9,done\n"),  # later
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "task.json").write_text("{}")
        (tmp_path / name / "timings.csv").write_text(heading + lines)
    found = utilization(tmp_path)
    assert found is not None
    assert found.ranks == ("block 0, rank 0", "block 0, rank 1", "block 1, rank 0")
    assert found.edges[-1] == 20.0
    assert (found.busy * np.diff(found.edges)).sum(axis=1) == pytest.approx([20.0, 5.0, 6.0])
    assert utilization(tmp_path / "none") is None
