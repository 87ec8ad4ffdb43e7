import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hpcml.molecules import Molecule, molecule_from_smiles
from hpcml.report import (
    Averages,
    Curve,
    Explained,
    Explanation,
    Failed,
    LearningCurve,
    Predictions,
    Reasons,
    ReportFacts,
    Table,
)

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
    drawn = []
    for molecule in molecules:
        relevance = rng.normal(size=len(molecule))
        ledger = {"biases": 0.25, "mean of the target": 30.0}
        total = float(relevance.sum() + sum(ledger.values()))
        drawn.append(Explained(molecule, "test", 31.0, total, relevance, ledger))
    return ReportFacts(
        title=HOSTILE,
        level="HF/6-31G(d)",
        computed=40,
        failures=tuple(Failed(HOSTILE, "input", HOSTILE) for _ in range(20)),
        predictions=(
            Predictions(
                "polarizability", "a₀³", splits, reference, reference + rng.normal(size=40)
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
        explanation=Explanation("polarizability", "a₀³", "epsilon", tuple(drawn), 40, 3e-7),
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
            "test", 0.81, 0.7, 0.9, Table("Reasons score", ("", "r"), ((HOSTILE, "0.8"),), "a note")
        ),
        tables=(Table(HOSTILE, (HOSTILE,), ((HOSTILE,),)),),
        seconds={"generate": 96.0, HOSTILE: 31.0},
        provenance={HOSTILE: {HOSTILE: HOSTILE}},
        settings=HOSTILE,
    )


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Run headless Chromium with these arguments; what it prints.  It must be installed."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    assert program, "Chromium is missing: apt-get install chromium"
    profile = tmp_path_factory.mktemp("chromium")

    def run(*arguments: str) -> str:
        quiet = ["quic", "background-networking", "component-update", "sync", "gpu"]
        command = [program, "--headless", "--no-sandbox", "--no-first-run", "--hide-scrollbars"]
        command += [f"--disable-{feature}" for feature in quiet]
        command += [f"--user-data-dir={profile}", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        return done.stdout

    return run


@pytest.fixture
def page(facts: ReportFacts, tmp_path: Path) -> Path:
    from hpcml.report import build

    return build(facts, tmp_path / "report" / "index.html")
