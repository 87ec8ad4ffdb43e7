"""What others get: source distribution and wheel, recipes of containers and conda, the citation."""

from __future__ import annotations

import configparser
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from email import message_from_string
from email.message import Message
from pathlib import Path

import jsonschema
import pytest
import yaml

import hpcml

ROOT = Path(__file__).parents[1]
CONDA_NAMES = {
    "matplotlib": "matplotlib-base",
    "msgspec": "msgspec-python",
    "tomli_w": "tomli-w",
    "torch": "pytorch",
}


def _without_path() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def _tracked(folder: str = ".") -> list[Path]:
    """Files of the repository; what git ignores is none of them."""
    words = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", folder]
    told = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [Path(name) for name in told.split("\0") if name and (ROOT / name).is_file()]


def _build(kind: str, source: Path, destination: Path) -> Path:
    program = f"from setuptools.build_meta import build_{kind} as b; b({str(destination)!r})"
    done = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning:setuptools", "-c", program],
        cwd=source, env=_without_path(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return next(destination.glob("*.whl" if kind == "wheel" else "*.tar.gz"))


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution, unpacked."""
    folder = tmp_path_factory.mktemp("sdist")
    source = folder / "source"
    for name in _tracked():
        if name.parts[0] in ("tests", "tests_peers", "benchmarks"):
            continue
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, source / name)
    packed = _build("sdist", source, folder)
    assert packed.stat().st_size < 10_000_000
    shutil.unpack_archive(packed, folder)
    return folder / packed.name.removesuffix(".tar.gz")


@pytest.fixture(scope="module")
def wheel(sdist: Path) -> Path:
    """The wheel that is built from the source distribution, as pip builds it."""
    return _build("wheel", sdist, sdist.parent)


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        name = next(one for one in archive.namelist() if one.endswith("dist-info/METADATA"))
        return message_from_string(archive.read(name).decode())


def test_the_source_distribution_has_what_it_takes_to_install_and_cite(sdist: Path) -> None:
    for name in ("LICENSE", "README.md", "CITATION.cff", "environment.yml", "install/debian.sh"):
        assert (sdist / name).is_file(), name
    assert (sdist / "jobs/quickstart.toml").is_file() and (sdist / "docs/compute.md").is_file()
    assert not (sdist / "tests").exists()


def test_the_wheel_holds_every_file_of_the_package(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if "dist-info" not in name}
    assert held == {str(name) for name in _tracked("hpcml")}


def test_the_metadata_say_what_it_is_and_needs(metadata: Message) -> None:
    assert metadata["Name"] == "hpcml" and metadata["Version"] == hpcml.__version__
    assert metadata["License-Expression"] or metadata["License"] == "BSD-3-Clause"
    assert metadata["Requires-Python"] == ">=3.10"
    assert metadata["Description-Content-Type"] == "text/markdown"
    extras = set(metadata.get_all("Provides-Extra", []))
    assert extras >= {"pyscf", "mpi", "export", "notebook", "docs", "test"}
    needed = metadata.get_all("Requires-Dist", [])
    assert any(re.match(r"pyscf.*extra == .pyscf", one) for one in needed)
    assert "Typing :: Typed" in metadata.get_all("Classifier", [])
    assert not {"psi4", "horovod"} & {re.split(r"\W", one)[0] for one in needed}


def test_an_empty_environment_runs_the_installed_wheel(wheel: Path, tmp_path: Path) -> None:
    """Installed by pip, without what it needs: that is lent by the environment of the tests."""
    venv.create(tmp_path / "venv", with_pip=False, symlinks=True)
    python = tmp_path / "venv/bin/python"
    words = ["install", "--quiet", "--no-deps", "--no-index", "--disable-pip-version-check"]
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", python, *words, wheel],
        env=_without_path(), check=True, capture_output=True,
    )  # fmt: skip
    packages = next((tmp_path / "venv/lib").iterdir()) / "site-packages"
    lent = [Path(sysconfig.get_paths()["purelib"])]
    lent += [Path(line) for pth in lent[0].glob("debian-*.pth") for line in pth.read_text().split()]
    (packages / "lent.pth").write_text("\n".join(map(str, lent)) + "\n")

    def run(*command: str | Path) -> str:
        done = subprocess.run(
            command, cwd=tmp_path, env=_without_path(), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert run(python, "-c", "import hpcml; print(hpcml.__file__)").startswith(str(packages))
    program = tmp_path / "venv/bin/hpcml"
    assert run(program, "--version") == f"hpcml {hpcml.__version__}\n"
    run(program, "init", "c.toml", "--dataset", "data")
    assert "unknown key" not in run(program, "completion", "bash")
    run(python, "-c", "import hpcml.report.page; from hpcml.response import Level")


# --- containers ------------------------------------------------------------------------------


def _copied(recipe: str) -> list[list[str]]:
    """What each stage of a recipe is given of the repository."""
    text = (ROOT / "install" / recipe).read_text()
    if recipe == "Dockerfile":
        stages = re.split(r"^FROM ", text, flags=re.MULTILINE)[1:]
        lines = [re.findall(r"^COPY (?!--from)(.*) \S+$", stage, re.MULTILINE) for stage in stages]
        return [[name for line in stage for name in line.split()] for stage in lines]
    stages = re.split(r"^Bootstrap:", text, flags=re.MULTILINE)[1:]
    return [re.findall(r"^    (\S+) /opt/hpcml/\S+$", stage, re.MULTILINE) for stage in stages]


@pytest.mark.parametrize("recipe", ["Dockerfile", "hpcml.def"])
def test_a_container_is_given_what_its_steps_need(recipe: str, tmp_path: Path) -> None:
    """The first stage's files alone make a wheel, the second's know what to install."""
    first, second = _copied(recipe)
    assert second[0] == "install"
    for name in first:
        source = ROOT / name
        if source.is_dir():
            unwanted = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, tmp_path / name, ignore=unwanted)
        else:
            shutil.copy(source, tmp_path / name)
    assert _build("wheel", tmp_path, tmp_path).stat().st_size > 100_000
    text = (ROOT / "install" / recipe).read_text()
    assert re.findall(r"install/debian\.sh (\w+)", text) == ["build", "run"]


def test_the_set_up_knows_what_is_for_building_and_for_tests(tmp_path: Path) -> None:
    """debian.sh's choice of packages, with an apt-get that tells what it is asked for."""
    (tmp_path / "bin").mkdir()
    for name, body in {
        "apt-get": f'[ "$1" = install ] && echo "$@" >> {tmp_path}/asked; exit 1',
        "dpkg-query": "echo not-installed",
        "dpkg": "true",
        "sudo": 'while [ "$1" = -n ]; do shift; done; exec "$@"',
    }.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    shutil.copytree(ROOT / "install", tmp_path / "here/install")
    asked = {}
    for word in ("", "build", "run"):
        (tmp_path / "asked").unlink(missing_ok=True)
        subprocess.run(
            [tmp_path / "here/install/debian.sh", *([word] if word else [])],
            env={**os.environ, "PATH": f"{tmp_path}/bin:{os.environ['PATH']}", "ENGINE": "psi4"},
            capture_output=True, check=False,
        )  # fmt: skip
        asked[word] = set((tmp_path / "asked").read_text().split())
    assert {"chromium", "slurm-wlm", "cmake", "psi4"} <= asked[""]
    assert asked["build"] == asked[""] - {"chromium", "slurm-wlm", "munge", "strace"}
    assert {"psi4", "openmpi-bin", "python3-venv"} <= asked["run"]
    assert not {"build-essential", "cmake", "python3-dev", "chromium"} & asked["run"]


# --- conda, citation -------------------------------------------------------------------------


def _plain(requirement: str) -> tuple[str, str]:
    name, bound = re.match(r"([\w-]+)\s*(.*)", requirement.partition(";")[0].strip()).groups()  # type: ignore[union-attr]
    return CONDA_NAMES.get(name, name), bound


def test_the_conda_recipe_needs_what_the_package_needs() -> None:
    recipe = yaml.safe_load((ROOT / "install/recipe.yaml").read_text())
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg")
    needed = dict(map(_plain, settings["options"]["install_requires"].split("\n")[1:]))
    told = dict(_plain(one) for one in recipe["requirements"]["run"])
    assert {name: told.get(name) for name in needed} == needed
    assert set(told) - set(needed) == {"python", "psi4", "horovod"}
    assert told["python"] == settings["options"]["python_requires"]
    assert recipe["context"]["version"] == hpcml.__version__
    assert recipe["about"]["license"] == settings["metadata"]["license"]
    assert recipe["about"]["summary"] == settings["metadata"]["description"]
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    there = {re.split(r"[=<>]", one)[0] for one in environment}
    assert set(needed) - there <= {"tomli"}


def test_the_citation_is_as_its_schema_wants_it() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    found = importlib.util.find_spec("cffconvert")
    assert found is not None and found.origin, "pip install --no-deps cffconvert"
    schema = Path(found.origin).parent / "schemas" / citation["cff-version"] / "schema.json"
    rules = json.loads(schema.read_text())
    jsonschema.validate(citation, rules)
    assert citation["version"] == hpcml.__version__
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**citation, "authors": []}, rules)
