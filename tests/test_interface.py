"""What a user of the package sees: its names, and their types, however it was installed."""

import os
import rlcompleter
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

import hpcml

ROOT = Path(__file__).parents[1]
NAMES = [
    *("Dataset", "Level", "Molecule", "OpenedDataset", "Request", "__version__", "compute"),
    *("explain", "load_model", "open", "reasons_score", "train"),
]
SCRIPT = """\
import hpcml
data = hpcml.open("runs/quickstart/dataset")
reveal_type(data.column("energy"))
reveal_type(hpcml.compute("O"))
reveal_type(hpcml.compute(["O", "N"])[0].properties)
reveal_type(hpcml.load_model("runs/quickstart/model").predict("O").values["alpha_iso"])
"""


def test_the_names_are_listed_and_completed():
    assert dir(hpcml) == sorted(hpcml.__all__) == NAMES
    completer = rlcompleter.Completer({"hpcml": hpcml})
    found = [completer.complete("hpcml.", number) for number in range(len(NAMES))]
    assert {name.rstrip("(") for name in found if name} >= {f"hpcml.{n}" for n in NAMES[:4]}
    assert completer.complete("hpcml.op", 0) == "hpcml.open("


@pytest.mark.parametrize("kind", ["editable", "wheel"])
def test_a_type_checker_sees_the_installed_package(tmp_path, kind):
    source = tmp_path / "source"
    source.mkdir()
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    unwanted = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "hpcml", source / "hpcml", ignore=unwanted)
    build = f"from setuptools.build_meta import build_{kind} as build; build({str(tmp_path)!r})"
    without = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run(
        [sys.executable, "-c", build], cwd=source, env=without, check=True, capture_output=True
    )
    venv.create(tmp_path / "venv", with_pip=False)
    packages = next((tmp_path / "venv" / "lib").iterdir()) / "site-packages"
    zipfile.ZipFile(next(tmp_path.glob("*.whl"))).extractall(packages)
    (packages / "needed.pth").write_text(sysconfig.get_paths()["purelib"])
    (tmp_path / "script.py").write_text(SCRIPT)
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--python-executable", tmp_path / "venv/bin/python",
         "--cache-dir", tmp_path / "cache", "script.py"],
        cwd=tmp_path, env=without, check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "numpy.ndarray" in checked.stdout
    assert 'Revealed type is "hpcml.interface.computing.Computed"' in checked.stdout
    assert "hpcml.response.properties.ResponseProperties" in checked.stdout
