"""What a parallel file system sees of a campaign, counted by strace: bounded by design."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAMS = Path(__file__).parent / "programs"
CALLS = ("fsync", "fdatasync", "rename", "renameat", "renameat2", "mkdir")


@pytest.fixture
def counted(campaign, tmp_path):
    """``counted(molecules)``: system calls of a campaign of so many that do nothing, one rank."""

    def run(molecules):
        summary = tmp_path / "calls"
        site = {"ranks_per_node": 1, "memory_mb": 1200, "scratch": str(tmp_path)}
        words = [sys.executable, str(PROGRAMS / "launcher.py"), str(campaign.folder.path), "none"]
        names = [f"m{i}" for i in range(molecules)]
        trace = ["strace", "-f", "-qq", "-c", "-o", str(summary), "-e", f"trace={','.join(CALLS)}"]
        subprocess.run([*trace, *words, repr(site), *names], check=True, capture_output=True)
        found = re.findall(r"(\d+)(?:\s+\d+)?\s+(\w+)$", summary.read_text(), re.MULTILINE)
        return {name: int(count) for count, name in found if name in CALLS}

    return run


def test_waits_for_the_disk_and_renames_do_not_grow_with_the_molecules(counted, campaign):
    """Rows are written in groups and shards: 90 waits were seen, where each row was one."""
    calls = counted(600)
    waits = calls["fsync"] + calls["fdatasync"]
    renames = sum(calls.get(name, 0) for name in ("rename", "renameat", "renameat2"))
    assert waits <= 600 / 2
    assert renames <= 60
    dataset = campaign.folder.dataset
    files = [path for path in dataset.rglob("*") if path.is_file()]
    # two shards of 512 rows at the most, the manifest of their rank; no journal is left
    assert len(files) <= 3
