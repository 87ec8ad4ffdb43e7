"""Whatever is typed, whatever the files hold: an exit code of ours and a few lines, no traceback.

The engine, MPI programs and SLURM are left out: no calculation is begun.
"""

from __future__ import annotations

import contextlib
import io
import os
from pathlib import Path

import msgspec
import pytest
import tomli_w
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpcml import pipeline, stages
from hpcml.cli.main import main
from hpcml.errors import ConvergenceError
from hpcml.molecules import Molecule
from hpcml.response.engine import Faults
from hpcml.stages import Outcome
from hpcml.store import Row, Schema, ShardWriter

WATER = "3\nwater\nO 0 0 0.117790\nH 0 0.755453 -0.471161\nH 0 -0.755453 -0.471161\n"
CAMPAIGN = 'name = "c"\n[molecules]\nsource = "w.xyz"\n[level]\nmethod = "HF"\nbasis = "STO-3G"\n'
MOST_LINES = 3

plain = settings(
    derandomize=True,
    deadline=None,
    max_examples=100,
    suppress_health_check=list(HealthCheck),
)


class NoEngine:
    """In the engine's place: nothing converges."""

    def __init__(self, _orders: object) -> None:
        pass

    def __enter__(self) -> NoEngine:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def compute(self, _molecule: Molecule) -> None:
        raise ConvergenceError("nothing converges here")


@pytest.fixture(scope="module", autouse=True)
def place(tmp_path_factory: pytest.TempPathFactory) -> object:
    """A folder with a little of everything, in which the commands run."""
    folder = tmp_path_factory.mktemp("place")
    (folder / "w.xyz").write_text(WATER)
    (folder / "bom.toml").write_bytes(b"\xef\xbb\xbf" + CAMPAIGN.encode())
    (folder / "c.toml").write_text(CAMPAIGN)
    (folder / "site.toml").write_text('kind = "slurm"\nranks_per_node = 2\nwalltime = "1:00:00"\n')
    (folder / "empty.csv").write_text("")
    (folder / "noise.sdf").write_bytes(bytes(range(256)))
    (folder / "run" / "work").mkdir(parents=True)
    (folder / "run" / "campaign.toml").write_text(CAMPAIGN)
    with ShardWriter(folder / "run" / "dataset", Schema(columns=("energy",)), "w") as writer:
        molecule = Molecule([8], [[0.0, 0.0, 0.0]], name="O")
        writer.append(Row("0" * 32, molecule, {"energy": -74.0}, {}))
    with pytest.MonkeyPatch.context() as patch:
        idle = [
            msgspec.structs.replace(stage, run=lambda _campaign, _run: Outcome.NOTHING_TO_DO)
            for stage in stages.STAGES
        ]
        patch.setattr(stages, "STAGES", tuple(idle))
        patch.setattr(
            "hpcml.response.level_faults.level_faults", lambda _level, _elements: Faults()
        )
        patch.setattr(pipeline, "submit_jobs", lambda *_: {"generate": "1"})
        patch.setattr("hpcml.generation.Foreground", NoEngine, raising=False)
        patch.chdir(folder)
        yield folder


def ends_well(words: list[str]) -> int:
    """The exit code of a command that ends as every command must."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(words)
    said = err.getvalue()
    assert code in {0, 1, 2, 85}, (words, code, said)
    assert "Traceback" not in said and "a bug" not in said, (words, said)
    assert len(said.splitlines()) <= MOST_LINES, (words, said)
    assert code == 0 or said or out.getvalue(), (words, "ends without a word")
    return code


COMMANDS = (
    *("run", "generate", "train", "explain", "analyze", "report", "check", "submit", "status"),
    *("retry", "compute", "import", "export", "verify", "repair", "compact", "merge", "predict"),
    *("show", "init", "completion", "calibrate", "comput", "--help", "--version"),
)
OPTIONS = (
    *("--run", "--dry-run", "--site", "--json", "--cause", "--method", "--basis", "--charge"),
    *("--multiplicity", "--property", "--process", "--frequency", "--threads", "--memory", "--to"),
    *("--quiet", "--units", "--tensors", "--molecules", "--dataset"),
    *("--out", "--csv", "--explain", "--rule", "--target", "--help", "--exact", "-h", "--"),
)
FILES = (
    *("w.xyz", "c.toml", "bom.toml", "site.toml", "empty.csv", "noise.sdf", "run", "run/dataset"),
    *("none", "none.xyz", "no/such/file.json", ".", "/", "/dev/null", "n" * 300, "", "\udcff.xyz"),
)
VALUES = ("HF", "B3LYP", "STO-3G", "0", "-1", "2", "1e400", "nan", "beta", "SHG", "csv", "qm9")
text = st.text(st.characters(exclude_characters="\0", exclude_categories=()), max_size=12)
words = st.lists(st.sampled_from((*OPTIONS, *FILES, *VALUES)) | text, max_size=7)


@plain
@given(st.sampled_from(COMMANDS) | text, words)
def test_any_words(command: str, rest: list[str]) -> None:
    ends_well([command, *rest])


@plain
@given(
    st.sampled_from(COMMANDS[:-3]),
    st.sampled_from(["x.toml", "x.xyz", "x.csv", "x.sdf", "x.smi", "x.gbs"]),
    st.binary(max_size=60) | st.text(max_size=60).map(lambda s: s.encode(errors="replace")),
)
def test_any_file(command: str, name: str, content: bytes) -> None:
    Path(name).write_bytes(content)
    rest = {
        "compute": ["--method", "HF", "--basis", name if name.endswith("gbs") else "STO-3G"],
        "export": ["--to", "csv", "--out", "out"],
        "merge": ["--to", "merged"],
        "predict": [name],
        "retry": ["--cause", "input"],
        "submit": ["--site", name, "--dry-run"],
    }.get(command, [])
    ends_well([command, *(["table"] if command == "import" else []), name, *rest])


value = (
    st.none()
    | st.booleans()
    | st.integers(-(10**6), 10**12)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["HF", "alpha_iso", "weave", "epsilon", "w.xyz", "run", "slurm", "1:00:00"])
    | st.lists(st.integers(-3, 5), max_size=3)
)
KEYS = {
    "molecules": ("source", "limit"),
    "level": ("method", "basis", "exact", "grid"),
    "properties": ("properties", "processes", "frequencies", "pairs"),
    "site": ("kind", "walltime", "threads", "memory_mb", "scratch", "launcher", "ranks_per_node"),
    "train": ("model", "target", "hyperparameters", "train", "train_sizes", "split", "split_file"),
    "explain": ("rule", "gamma", "target", "pairs", "ranks"),
}
tables = st.fixed_dictionaries(
    {},
    optional={
        table: st.dictionaries(st.sampled_from(keys), value.filter(lambda v: v is not None)) | value
        for table, keys in KEYS.items()
    },
)


@plain
@given(
    tables,
    st.sampled_from(["run", "check", "generate", "train", "report"]),
    st.booleans(),
)
def test_any_settings(changes: dict[str, object], command: str, dry: bool) -> None:
    good: dict[str, object] = {
        "molecules": {"source": "w.xyz"},
        "level": {"method": "HF", "basis": "STO-3G"},
        "train": {"model": "linear"},
        "explain": {},
    }
    document: dict[str, object] = {"name": "fuzz"}
    for table, settled in {**{key: {} for key in KEYS}, **good}.items():
        change = changes.get(table, {})
        changed = {**settled, **change} if isinstance(change, dict) else change  # type: ignore[dict-item]
        if changed is not None:
            document[table] = changed
    Path("fuzz.toml").write_text(tomli_w.dumps(document), encoding="utf-8", errors="replace")
    run = ["--run", f"runs/{os.getpid()}"]
    ends_well([command, "fuzz.toml", *run, *(["--dry-run"] if dry and command != "check" else [])])
