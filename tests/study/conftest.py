"""A data set whose truth is known, and the command that a user would give."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem

from hpcml.molecules import Molecule, perceive, read
from hpcml.store import Row, Schema, ShardWriter

REPOSITORY = Path(__file__).parents[2]
ELEMENT = {1: 0.5, 6: 1.0, 7: 1.4, 8: 1.8, 9: 0.3}

WORDS = [sys.executable, "-m", "hpcml", "study", "study.toml", "--run", "run"]
Study = Callable[..., "subprocess.CompletedProcess[str]"]


def additive(molecule: Molecule) -> np.ndarray:
    """What an atom adds by its element and hybridization: its share, and the network's."""
    kinds = {Chem.HybridizationType.SP2: 0.8, Chem.HybridizationType.SP: -1.1}
    return np.array(
        [
            ELEMENT[atom.GetAtomicNum()] + kinds.get(atom.GetHybridization(), 0.0)
            for atom in perceive(molecule).GetAtoms()
        ]
    )


@pytest.fixture(scope="session")
def known_truth(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The quickstart's 80 molecules with properties whose atoms' shares are known.

    alpha_iso is a sum of what its atoms add, and their shares are that.  zpve is the number of
    hydrogens, which anything can learn, and its shares lie on atoms drawn by lot.
    """
    folder = tmp_path_factory.mktemp("study") / "dataset"
    columns = ("energy", "alpha_iso", "share_alpha_iso", "zpve", "share_zpve")
    random = np.random.default_rng(0)
    with ShardWriter(folder, Schema(columns=columns, frequencies=(0.0,)), "test") as writer:
        for number, molecule in enumerate(read(REPOSITORY / "jobs" / "quickstart.xyz")):
            assert isinstance(molecule, Molecule)
            shares = additive(molecule)
            hydrogens = float((molecule.numbers == 1).sum())
            lot = random.dirichlet(np.ones(len(molecule)))
            writer.append(
                Row(
                    key=f"{number:032x}",
                    molecule=molecule,
                    values={
                        "energy": np.array(-1.0),
                        "alpha_iso": np.array([shares.sum()]),
                        "share_alpha_iso": shares,
                        "zpve": np.array(hydrogens),
                        "share_zpve": hydrogens * lot,
                    },
                    provenance={"method": "made up", "basis": "none"},
                )
            )
    return folder


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """``hpcml study`` of a text, in a folder of its own: ``study(text, *words)``."""

    def run(
        text: str, *words: str, environment: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        (tmp_path / "study.toml").write_text(text)
        return subprocess.run(
            [*WORDS, *words],
            env={**os.environ, **(environment or {})},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=550,
            check=False,
        )

    return run


@pytest.fixture
def begin(tmp_path: Path) -> Callable[[str], subprocess.Popen[bytes]]:
    """The same without waiting for its end."""

    def run(text: str) -> subprocess.Popen[bytes]:
        (tmp_path / "study.toml").write_text(text)
        return subprocess.Popen(WORDS, cwd=tmp_path, stderr=subprocess.DEVNULL)

    return run
