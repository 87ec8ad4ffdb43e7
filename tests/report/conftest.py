import csv
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from hpcml.analysis import analyze
from hpcml.cluster.run_folder import RunFolder
from hpcml.molecules import Molecule, molecule_from_smiles, read
from hpcml.relevance import LEDGER
from hpcml.report import (
    Averages,
    Computed,
    Curve,
    Explanation,
    Failed,
    LearningCurve,
    Predictions,
    Reasons,
    ReportFacts,
    ScoreLine,
    Shown,
    Table,
    Utilization,
)
from hpcml.report.analysis_tables import CONSERVATION
from hpcml.report.facts import Residuals
from hpcml.response.level import Level, Request
from hpcml.store import Dataset, Row, Schema, ShardWriter, result_key, shards

QUICKSTART = Path(__file__).parents[2] / "jobs" / "quickstart.xyz"
LEVEL = Level(method="HF", basis="6-31G(d)")
REQUEST = Request(properties=("alpha", "shares"))
WORTH = {1: 1.5, 6: 8.0, 7: 6.0, 8: 4.5}  # of an atom's polarizability, made up
HOSTILE = "<script>alert('x')</script> & $\\frac{1}{2}$ \"q\""


@pytest.fixture(scope="session")
def molecules() -> list[Molecule]:
    return [
        molecule_from_smiles(smiles, name)
        for smiles, name in (
            ("O", "water"),
            ("CC(=O)O", HOSTILE),
            ("C[NH+](C)C", "ion"),
            ("[H][H]", "hydrogen"),
            ("c1cc[nH]c1", "pyrrole"),
        )
    ]


@pytest.fixture(scope="session")
def facts(molecules: list[Molecule]) -> ReportFacts:
    """A page with every section filled, texts from files all hostile."""
    rng = np.random.default_rng(4)
    reference = rng.uniform(5.0, 60.0, 40)
    splits = np.array(["train"] * 30 + ["validation"] * 5 + ["test"] * 5)
    gallery = []
    for row, molecule in enumerate(molecules):
        relevance = rng.normal(size=len(molecule))
        ledger = {"biases": 0.25, "mean of the target": 30.0}
        total = float(relevance.sum() + sum(ledger.values()))
        gallery.append(
            Shown(
                molecule,
                row=row,
                part="test" if row < 3 else "train",
                reference=31.0 + row,
                prediction=total,
                relevance=relevance,
                own_terms=np.full(len(molecule), 0.5),
                share=relevance[::-1],
                ledger=ledger,
                cancellation=1.5 + row,
                groups=("methyl", HOSTILE) if row == 1 else (),
                dipole=np.array([0.0, 0.3, 0.4]),
                beta=np.array([1.0, 2.0, 2.0]),
            )
        )
    return ReportFacts(
        title=HOSTILE,
        level="HF/6-31G(d)",
        computed=40,
        failures=tuple(Failed(HOSTILE, "input", HOSTILE) for _ in range(20)),
        properties=(Computed(HOSTILE, "a₀³", reference, (1, 39)),),
        names={1: HOSTILE, 39: HOSTILE},
        predictions=(
            Predictions(
                "polarizability",
                "a₀³",
                splits,
                reference,
                reference + rng.normal(size=40),
                rows=np.arange(40),
            ),
        ),
        curve=Curve(np.arange(1, 31), np.geomspace(2, 0.05, 30), np.geomspace(9, 0.7, 30), "a₀³"),
        learning=LearningCurve(
            "polarizability",
            "a₀³",
            np.array([1000, 5000]),
            np.array([0.6, 0.4]),
            {HOSTILE: (5000, 2.0)},
            HOSTILE,
        ),
        comparisons=(Table(HOSTILE, (HOSTILE,), ((HOSTILE,),), HOSTILE),),
        explanation=Explanation(
            "polarizability", "a₀³", "epsilon", 40, 3e-7, {HOSTILE: HOSTILE}, rng.uniform(1, 30, 40)
        ),
        residuals=(Residuals(HOSTILE, "test", "a₀³", {HOSTILE: np.array([0.1, -0.2, 0.3])}),),
        gallery=tuple(gallery),
        worth={1: 1.0, 6: 8.0, 7: 6.0, 8: 4.0},
        utilization=Utilization(("rank 0",), np.linspace(0, 9, 4), np.array([[1, 0.5, 0.0]]), 1),
        averages=(
            Averages(
                HOSTILE,
                "a₀³",
                "atom",
                ("H", "C", HOSTILE),
                np.array([90, 40, 10]),
                np.array([-0.4, 1.2, 0.1]),
                np.array([0.2, 0.3, 0.1]),
                np.array([-0.5, 1.0, 0.2]),
            ),
        ),
        reasons=Reasons(
            "test",
            0.81,
            0.7,
            0.9,
            Table("Reasons score", ("", "r"), ((HOSTILE, "0.8"),), "a note"),
            (
                ScoreLine("the network", "network", 0.81, 0.7, 0.9),
                ScoreLine(HOSTILE, "control", 0.1, -0.1, 0.3),
            ),
        ),
        tables=(
            Table(HOSTILE, (HOSTILE,), ((HOSTILE,),)),
            Table(CONSERVATION, ("term",), (("atoms",),), bars=(("atoms", 3.0), ("biases", 1.0))),
        ),
        seconds={"generate": 96.0, HOSTILE: 31.0},
        provenance={HOSTILE: {HOSTILE: HOSTILE}},
        settings=HOSTILE,
    )


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Debian's Chromium, WebGL drawn by the processor.  It must be installed."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    assert program, "Chromium is missing: apt-get install chromium"
    words = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
    with sync_playwright() as started:
        opened = started.chromium.launch(executable_path=program, args=words)
        yield opened
        opened.close()


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Open a page of ours; whatever it asks of the network or writes to the console fails."""
    contexts, complaints = [], []

    def open_page(path: Path, **settings: Any) -> Page:
        context = browser.new_context(**settings)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append(f"dialog {dialog.message}"))
        page.on("request", lambda asked: asked.url.startswith(("file:", "data:", "blob:"))
                or complaints.append(asked.url))  # fmt: skip
        page.goto(path.as_uri())
        page.wait_for_selector("html[data-ready]", state="attached", timeout=60_000)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture
def page(facts: ReportFacts, tmp_path: Path) -> Path:
    from hpcml.report import build

    return build(facts, tmp_path / "report" / "index.html")


# --- a run's folder ---


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A run with 30 molecules computed and nothing else."""
    folder = RunFolder(tmp_path / "first-run").create()
    schema = Schema.for_request(REQUEST)
    with ShardWriter(folder.dataset, schema, "rank0", rows_per_shard=12) as writer:
        for molecule, _ in zip(read(QUICKSTART), range(30), strict=False):
            alpha = sum(WORTH[number] for number in molecule.numbers.tolist())
            share = np.array([WORTH[number] for number in molecule.numbers.tolist()])
            values = {"alpha_iso": np.array([alpha]), "share_alpha_iso": share}
            provenance = {
                "method": "HF",
                "basis": {"name": "6-31G(d)", "spherical": False},
                "scf_iterations": len(molecule),
                "warnings": [],
            }
            key = result_key(molecule, LEVEL, REQUEST)
            writer.append(Row(key, molecule, values, provenance))
    return folder


def _write_model(run: RunFolder, data: Dataset) -> None:
    """Model files as training writes them: rows 0 to 9 test, in another order than the data."""
    run.model.mkdir()
    errors = {"alpha_iso": {"unit": data.unit("alpha_iso"), "test": {"mae": 0.5}}}
    errors["alpha_iso"]["target"] = {"name": "alpha_iso"}
    metrics = {"model": "weave", "target": "alpha_iso", "errors": errors, "epochs": 2}
    (run.model / "metrics.json").write_text(json.dumps(metrics))
    (run.model / "metrics.csv").write_text(
        "epoch,learning_rate,train_loss,validation_mae,unit\n1,0.001,2.0,3.0,a0^3\n"
        "2,0.0005,1.0,1.5,a0^3\n"
    )
    alpha = data.scalar("alpha_iso")
    with (run.model / "predictions.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["key", "part", "reference", "predicted"])
        for row in reversed(range(30)):
            split = "test" if row < 10 else "train"
            error = 0.1 * ((row * 7) % 10)
            table.writerow([data.keys[row], split, alpha[row], alpha[row] + error])

    keys = data.keys.tolist()
    split = {"test": keys[:10], "validation": [], "train": keys[10:]}
    (run.model / "split.json").write_text(json.dumps(split))


def _write_relevance(run: RunFolder, data: Dataset) -> None:
    """Relevances whose ledger closes but for 1e-3 in row 4; row 5 could not be explained."""
    start = 0
    for info in data.shards:
        shard = data.shard(info.name)
        offsets = shard.atom_offsets
        atoms = np.array([WORTH[number] for number in shard.column("numbers").tolist()]) - 0.5
        ledger = np.zeros((len(shard), len(LEDGER)))
        ledger[:, LEDGER.index("bias")] = 0.5 * np.diff(offsets)
        prediction = shard.scalar("alpha_iso").copy()
        for row, change in ((4, 1e-3), (5, np.nan)):
            if start <= row < start + len(shard):
                prediction[row - start] += change
        columns = {
            "key": shard.column("key"),
            "prediction": prediction,
            "ledger": ledger,
            "atom_offsets": offsets,
            "relevance": atoms,
        }
        about = {
            "identity": "i", "model": "weave", "target": '{"name": "alpha_iso"}', "unit": "a0^3",
            "rule": "epsilon", "source": info.checksum,
        }  # fmt: skip
        shards.write(run.relevance, info.name, columns, about)
        start += len(shard)


@pytest.fixture
def write_model() -> Callable[[RunFolder, Dataset], None]:
    return _write_model


@pytest.fixture
def write_relevance() -> Callable[[RunFolder, Dataset], None]:
    return _write_relevance


@pytest.fixture
def whole_run(run: RunFolder) -> RunFolder:
    """The same with a network, its relevances and their analysis."""
    data = Dataset.open(run.dataset)
    _write_model(run, data)
    _write_relevance(run, data)
    run.campaign_toml.write_text(f'name = "first-run"\ndataset = "{run.dataset}"\n')
    analyze(data, run.relevance, run.model, run.analysis)
    return run
