"""The house rules as tests: format, lint, types, the corridor of imports, sizes, names, shapes."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
PACKAGE = ROOT / "hpcml"
MODULES = sorted(PACKAGE.rglob("*.py"))
ROOMS = sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))
MOST_LINES = 440
MOST_LINES_OF_A_FUNCTION = 65  # its docstring left out
ROOMS_WITH_SHAPES = (
    "response",
    "store",
    "analysis",
    "cli",
    "cluster",
    "generation",
    "models",
    "molecules",
    "relevance",
    "report",
    "study",
    "training",
)
"""Rooms in which every public function with arrays gives their shapes in numpydoc's form."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


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


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.name)
def test_every_module_says_what_it_is_for(path: Path) -> None:
    first = path.read_text(encoding="utf-8").lstrip()[:3]
    assert first == '"""', f"{path.relative_to(ROOT)} has no docstring"


def test_tests_mirror_the_package() -> None:
    tested = {p.name for p in (ROOT / "tests").iterdir() if p.is_dir()}
    assert set(ROOMS) <= tested
    for room in ROOMS:
        assert list((ROOT / "tests" / room).glob("test_*.py")), f"tests/{room} is empty"


def test_the_table_of_rooms_names_every_room_and_file_at_the_top() -> None:
    named = set(re.findall(r"^\| (`.*?) \|", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE))
    told = {name.strip("`/") for cell in named for name in cell.split(", ")}
    files = {path.name for path in PACKAGE.glob("*.py") if not path.name.startswith("__")}
    assert told == {*ROOMS, *files}


def test_a_files_name_says_which_file_it_is() -> None:
    names = [path.name for path in MODULES if not path.name.startswith("__")]
    assert sorted(set(names)) == sorted(names), {name for name in names if names.count(name) > 1}


def _functions(tree: ast.AST) -> Iterator[Function]:
    for node in ast.walk(tree):
        if isinstance(node, Function):
            yield node


def _lines_of_docstring(function: Function) -> int:
    first = function.body[0]
    return (first.end_lineno or 0) - first.lineno + 1 if ast.get_docstring(function) else 0


def test_files_and_functions_stay_small_enough_to_be_read_at_once() -> None:
    large = []
    for path in MODULES:
        text = path.read_text(encoding="utf-8")
        if len(text.splitlines()) > MOST_LINES:
            large.append(f"{path.relative_to(ROOT)}: {len(text.splitlines())} lines")
        for function in _functions(ast.parse(text)):
            lines = (function.end_lineno or 0) - function.lineno + 1 - _lines_of_docstring(function)
            if lines > MOST_LINES_OF_A_FUNCTION:
                large.append(f"{path.relative_to(ROOT)}, {function.name}: {lines} lines")
    assert not large


def _room(module: str) -> str:
    """The room (or file at the top) of a dotted name below hpcml."""
    return module.split(".")[1] if "." in module else ""


def _private(name: str) -> bool:
    return any(re.match("_[^_]", part) for part in name.split("."))


def test_no_private_name_is_used_in_another_room() -> None:
    found = []
    for path in MODULES:
        parts = path.relative_to(ROOT).with_suffix("").parts
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("hpcml"):
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names if alias.name.startswith("hpcml")]
            else:
                continue
            found += [
                f"{path.relative_to(ROOT)}: {name}"
                for name in names
                if _private(name) and _room(name) != _room(".".join(parts))
            ]
    assert not found


def test_no_circle_of_files_that_import_each_other() -> None:
    """Imports at the top of files; those within functions are there to be late."""
    named = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in MODULES
    }
    needs: dict[str, set[str]] = {}
    for module, path in named.items():
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ImportFrom):
                meant = {f"{node.module}.{alias.name}" for alias in node.names}
                meant = {name if name in named else str(node.module) for name in meant}
            elif isinstance(node, ast.Import):
                meant = {alias.name for alias in node.names}
            else:
                continue
            needs.setdefault(module, set()).update(meant & named.keys())
    assert len(needs) > 100
    TopologicalSorter(needs).prepare()  # CycleError names the files


# --- shapes ----------------------------------------------------------------------------------

_IN_BRACKETS = r"(?:[^()]|\([^()]*\))*"
SHAPE = re.compile(
    rf"\(\)|\([^\s(),]{_IN_BRACKETS},{_IN_BRACKETS}\)|\bscalar|\bsame shape|\bshape of\b"
)
ARRAYS = {"ndarray", "NDArray", "Tensor", "Array"}


def _holds_arrays(annotation: ast.expr | None) -> bool:
    """Whether a type has arrays in it; what a callable takes and gives is left out."""
    if annotation is None:
        return False
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        annotation = ast.parse(annotation.value, mode="eval").body
    if isinstance(annotation, ast.Subscript) and ast.unparse(annotation.value) == "Callable":
        return False
    name = getattr(annotation, "id", getattr(annotation, "attr", ""))
    children = (child for child in ast.iter_child_nodes(annotation) if isinstance(child, ast.expr))
    return name in ARRAYS or any(_holds_arrays(child) for child in children)


def _sections(docstring: str) -> dict[str, str]:
    """The numpydoc sections of a docstring, by title; "" is what comes before the first."""
    parts = re.split(r"^(\w[\w ]*)\n-{3,}$", docstring, flags=re.MULTILINE)
    return {"": parts[0], **dict(zip(parts[1::2], parts[2::2], strict=True))}


def _entries(section: str) -> dict[str, str]:
    """The text that describes each name: ``left, right : (n, o) array`` and its indented lines."""
    entries: dict[str, str] = {}
    names: list[str] = []
    for line in section.strip("\n").splitlines():
        if line.strip() and not line.startswith(" "):
            head = line.partition(" : ")
            names = [name.strip(" *") for name in head[0].split(",")]
            entries |= dict.fromkeys(names, head[2])
        else:
            entries |= {name: f"{entries[name]} {line.strip()}" for name in names}
    return entries


def _public_functions(body: list[ast.stmt], prefix: str = "") -> Iterator[tuple[str, Function]]:
    for node in body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from _public_functions(node.body, f"{node.name}.")
        elif isinstance(node, Function) and not node.name.startswith("_"):
            yield prefix + node.name, node


def _told_in_a_line(body: list[ast.stmt]) -> Iterator[Function]:
    """A layer's forward and backward, and a handler: each a map of tensors, which its class's or
    its own docstring tells as ``(A, F), (E,) -> (E, F)``."""
    for node in body:
        if isinstance(node, ast.ClassDef):
            if SHAPE.search(ast.get_docstring(node) or ""):
                yield from (
                    one
                    for one in node.body
                    if isinstance(one, Function) and one.name in ("forward", "backward")
                )
        elif isinstance(node, Function):
            marks = {ast.unparse(one) for one in node.decorator_list}
            if marks & {"handler", "transparent"} and SHAPE.search(ast.get_docstring(node) or ""):
                yield node


def _shapes_missing(function: Function) -> list[str]:
    """Names of the arrays of a signature whose shape its docstring does not give."""
    sections = _sections(ast.get_docstring(function) or "")
    if any(ast.unparse(decorator).endswith("property") for decorator in function.decorator_list):
        missing = _holds_arrays(function.returns) and not SHAPE.search(sections[""])
        return ["the property"] if missing else []
    entries = _entries(sections.get("Parameters", ""))
    arguments = function.args
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    every += [each for each in (arguments.vararg, arguments.kwarg) if each is not None]
    arrays = [each.arg for each in every if _holds_arrays(each.annotation)]
    missing = [name for name in arrays if not SHAPE.search(entries.get(name, ""))]
    given = sections.get("Returns", "") + sections.get("Yields", "")
    if _holds_arrays(function.returns) and not SHAPE.search(given):
        missing.append("what it returns")
    return missing


@pytest.mark.parametrize("room", ROOMS_WITH_SHAPES)
def test_public_functions_give_the_shapes_of_their_arrays(room: str) -> None:
    missing, told_by_name = [], set()
    for path in sorted((PACKAGE / room).rglob("*.py")):
        body = ast.parse(path.read_text(encoding="utf-8")).body
        told = list(_told_in_a_line(body))
        for name, function in _public_functions(body):
            arrays = [] if function in told else _shapes_missing(function)
            if not arrays:
                told_by_name.add(function.name)
            words = f"{path.relative_to(ROOT)}, {name}: {', '.join(arrays)}"
            missing += [(words, function)] if arrays else []
    # A method without a docstring, or one that says "See", has that of the interface it follows.
    left = [
        words
        for words, function in missing
        if not (ast.get_docstring(function) or "See").startswith("See")
        or function.name not in told_by_name
    ]
    assert not left, "\n".join(left)


def test_the_reader_of_docstrings_sees_what_is_missing() -> None:
    text = '''
def scaled(left: Array, right: NDArray[np.float64], *, times: float) -> tuple[Tensor, int]:
    """Scale.

    Parameters
    ----------
    left, right : {left}
        In bohr.
    times : float

    Returns
    -------
    {returned}
    """
'''

    def missing(left: str, returned: str) -> list[str]:
        filled = text.replace("{left}", left).replace("{returned}", returned)
        return [
            name
            for _, function in _public_functions(ast.parse(filled).body)
            for name in _shapes_missing(function)
        ]

    assert missing("(N, 3) array", "(n_atoms,) tensor of float32") == []
    assert missing("array", "(n,) tensor") == ["left", "right"]
    assert missing("(n, n) array", "a tensor") == ["what it returns"]


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
