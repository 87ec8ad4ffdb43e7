"""A data set of real molecules with a property that is cheap to have, and ranks that start."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
from rdkit.Chem import Crippen

from hpcml.molecules import Molecule, perceive, read
from hpcml.store import Dataset, Row, Schema, ShardWriter
from hpcml.training.train_settings import TrainSettings

REPOSITORY = Path(__file__).parents[2]

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(scope="session")
def molecules() -> list[Molecule]:
    """The 80 GDB-9 molecules of the quickstart."""
    found = list(read(REPOSITORY / "jobs" / "quickstart.xyz"))
    assert all(isinstance(one, Molecule) for one in found)
    return [one for one in found if isinstance(one, Molecule)]


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory, molecules: list[Molecule]) -> Dataset:
    """Their molar refractivity after Crippen as alpha_iso; the dipole's length is the atom count.

    One row has no alpha_iso, another no zpve.
    """
    folder = tmp_path_factory.mktemp("training") / "dataset"
    _write_dataset(folder, molecules)
    return Dataset.open(folder)


@pytest.fixture(scope="session")
def write_dataset() -> Callable[[Path, list[Molecule]], None]:
    """Write a data set of that kind into a folder."""
    return _write_dataset


def _write_dataset(folder: Path, molecules: list[Molecule]) -> None:
    schema = Schema(columns=("energy", "dipole", "alpha_iso", "zpve"), frequencies=(0.0,))
    with ShardWriter(folder, schema, "test") as writer:
        for number, molecule in enumerate(molecules):
            refractivity = Crippen.MolMR(perceive(molecule))
            hydrogens = float((molecule.numbers == 1).sum())
            writer.append(
                Row(
                    key=f"{number:032x}",
                    molecule=molecule,
                    values={
                        "energy": np.array(-float(molecule.numbers.sum())),
                        "dipole": np.array([0.0, 0.6, 0.8]) * len(molecule),
                        "alpha_iso": np.array([np.nan if number == 7 else refractivity]),
                        "zpve": np.array(np.nan if number == 8 else 0.01 * hydrogens),
                    },
                    provenance={"method": "Crippen", "basis": "none"},
                )
            )


@pytest.fixture(scope="session")
def start(tmp_path_factory: pytest.TempPathFactory, dataset: Dataset) -> Start:
    """Start the training program as a user would: ``start(settings, folder, ranks=2)``.

    settings are TrainSettings or the text of a file; each rank has one thread; ``of`` is another
    data set than the usual one.
    """

    def run(
        settings: TrainSettings | str,
        folder: Path,
        *,
        ranks: int = 1,
        launcher: list[str] | None = None,
        of: Dataset = dataset,
    ) -> subprocess.Popen[str]:
        file = tmp_path_factory.mktemp("settings") / "settings.json"
        text = settings if isinstance(settings, str) else msgspec.json.encode(settings).decode()
        file.write_text(text)
        mpiexec = ["mpiexec", "-n", str(ranks), "--oversubscribe", "--bind-to", "none"]
        words = launcher or (mpiexec if ranks > 1 else [])
        words += [sys.executable, "-m", "hpcml.training.train_program"]
        words += ["--dataset", str(of.folder), "--model", str(folder), "--settings", str(file)]
        return subprocess.Popen(
            words, env=_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    return run


@pytest.fixture(scope="session")
def finish(start: Start) -> Callable[..., tuple[int, str]]:
    """Start it and wait: (exit code, what it said on stderr)."""

    def run(*arguments: object, **named: object) -> tuple[int, str]:
        process = start(*arguments, **named)
        _, said = process.communicate(timeout=300)
        return process.returncode, said

    return run


def _environment() -> dict[str, str]:
    """What the ranks inherit: one thread each, this source tree, permission to be root."""
    root = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    path = os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    return {**os.environ, **root, "OMP_NUM_THREADS": "1", "PYTHONPATH": path}
