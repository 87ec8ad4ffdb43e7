"""The sbatch scripts that come along in slurm/."""

from pathlib import Path

import pytest

from hpcml.script_templates import templates

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("name", sorted(templates()))
def test_the_shipped_templates_are_what_the_function_makes(name: str) -> None:
    assert (ROOT / "slurm" / name).read_text() == templates()[name]
