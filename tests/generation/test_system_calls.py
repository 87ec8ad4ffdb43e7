"""What a parallel file system sees of a campaign, counted by strace: bounded by design."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAMS = Path(__file__).parent / "programs"
CALLS = ("openat", "fsync", "fdatasync", "rename", "renameat", "renameat2", "mkdir", "link")
WAITS = ("fsync", "fdatasync")
RENAMES = ("rename", "renameat", "renameat2")


@pytest.fixture
def counted(campaign, tmp_path):
    """``counted(molecules, ranks)``: calls by name of a campaign of so many that do nothing.

    "openat" are the different files of the run that were opened to be made where they are not.
    """

    def run(molecules, ranks):
        record = tmp_path / "calls"
        site = {"ranks_per_node": ranks, "memory_mb": 1200, "scratch": str(tmp_path)}
        words = [sys.executable, str(PROGRAMS / "launcher.py"), str(campaign.folder.path), "none"]
        names = [f"m{i}" for i in range(molecules)]
        trace = ["strace", "-f", "-qq", "-s", "500", "-e", f"trace={','.join(CALLS)}"]
        command = [*trace, "-o", str(record), *words, repr(site), *names]
        subprocess.run(command, check=True, capture_output=True)
        found = dict.fromkeys(CALLS, 0)
        made = set()
        for line in record.read_text(errors="replace").splitlines():
            name = next((name for name in CALLS if re.search(rf"\b{name}\(", line)), "")
            if name == "openat":
                path = line.split('"')[1]
                if "O_CREAT" in line and path.startswith(str(campaign.folder.path)):
                    made.add(path)
            elif name:
                found[name] += 1
        found["openat"] = len(made)
        return found

    return run


def waits_and_renames(calls):
    return sum(calls[name] for name in WAITS), sum(calls[name] for name in RENAMES)


def test_waits_for_the_disk_and_renames_do_not_grow_with_the_molecules(counted, campaign):
    """Rows are written in groups and shards: 90 waits were seen, where each row was one."""
    waits, renames = waits_and_renames(counted(600, 1))
    assert waits <= 600 / 2
    assert renames <= 60
    dataset = campaign.folder.dataset
    files = [path for path in dataset.rglob("*") if path.is_file()]
    # two shards of 512 rows at the most, the manifest of their node; no journal is left
    assert len(files) <= 3


@pytest.mark.parametrize("ranks", [1, 4])
def test_files_belong_to_the_node_and_not_to_its_ranks(ranks, counted, campaign):
    """28 are seen on one rank, 28 on four; with a set for each rank it was five more for each."""
    calls = counted(120, ranks)
    assert calls["openat"] <= 30
    dataset = campaign.folder.dataset
    assert len(list(dataset.rglob("*.h5"))) == 1
    assert len(list(dataset.glob("manifest*.jsonl"))) == 1
    (task,) = campaign.folder.work.glob("*/task.json")
    assert len(list((task.parent / "flight").iterdir())) == 1
    assert not list(campaign.folder.logs.glob("psi4-*"))  # nobody had anything to say
