from collections.abc import Callable
from pathlib import Path

import pytest

from hpcml.molecules import Defect, Molecule, read

DATA = Path(__file__).parent / "data"


@pytest.fixture(scope="session")
def qm9_sample() -> list[Molecule]:
    molecules = list(read(DATA / "qm9_sample.xyz"))
    assert len(molecules) == 53
    assert all(isinstance(molecule, Molecule) for molecule in molecules)
    return molecules


@pytest.fixture
def read_text(tmp_path: Path) -> Callable[[str, str], list[Molecule | Defect]]:
    """Read ``text`` as the contents of a file of the given name."""

    def read_as(name: str, text: str) -> list[Molecule | Defect]:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return list(read(path))

    return read_as
