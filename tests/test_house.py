"""The house rules as tests: format, lint, types, and the corridor of imports."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent


@pytest.mark.parametrize(
    "command",
    [
        ("ruff", "format", "--check", "."),
        ("ruff", "check", "."),
        ("mypy",),
        ("lint-imports", "--no-cache"),
    ],
    ids=" ".join,
)
def test_holds(command: tuple[str, ...]) -> None:
    run = subprocess.run(
        [str(BIN / command[0]), *command[1:]], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize("path", sorted((ROOT / "hpcml").rglob("*.py")), ids=lambda p: p.name)
def test_every_module_says_what_it_is_for(path: Path) -> None:
    first = path.read_text(encoding="utf-8").lstrip()[:3]
    assert first == '"""', f"{path.relative_to(ROOT)} has no docstring"


def test_tests_mirror_the_package() -> None:
    rooms = {p.parent.name for p in (ROOT / "hpcml").glob("*/__init__.py")}
    tested = {p.name for p in (ROOT / "tests").iterdir() if p.is_dir()}
    assert rooms <= tested
    for room in rooms:
        assert list((ROOT / "tests" / room).glob("test_*.py")), f"tests/{room} is empty"


def _names_of_psi4s_objects(path: Path) -> list[str]:
    """Parameters and attributes by which Psi4's objects go."""
    forbidden = {"psi4", "core", "wavefunction"}
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.arg) and node.arg.strip("_") in forbidden:
            found.append(f"{path.name}:{node.lineno}: parameter {node.arg}")
        if isinstance(node, ast.Attribute) and node.attr.strip("_") in forbidden:
            found.append(f"{path.name}:{node.lineno}: attribute {node.attr}")
    return found


def test_only_one_folder_holds_psi4s_objects() -> None:
    package = ROOT / "hpcml"
    outside = [p for p in package.rglob("*.py") if package / "response" / "psi4" not in p.parents]
    assert [name for path in outside for name in _names_of_psi4s_objects(path)] == []
