"""SLURM's ways to write a time, and when a job ends."""

import datetime

import pytest

from hpcml.cluster.deadline import seconds, slurm_deadline
from hpcml.errors import SettingsError


@pytest.mark.parametrize(
    ("text", "expected"),
    [  # the formats of sbatch(1), --time
        ("90", 90 * 60),
        ("2:30", 150),
        ("01:00:05", 3605),
        ("1-12", 36 * 3600),
        ("1-12:30", 36 * 3600 + 1800),
        ("2-00:00:01", 2 * 86400 + 1),
    ],
)
def test_walltimes_are_read_as_sbatch_reads_them(text, expected):
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "tomorrow", "1:2:3:4", "-5", "1-", "1:-2"])
def test_what_is_no_time_is_a_settings_error(text):
    with pytest.raises(SettingsError, match="is not a time"):
        seconds(text)


def test_the_job_tells_its_end(tmp_path, monkeypatch):
    assert slurm_deadline({}) is None
    assert slurm_deadline({"SLURM_JOB_ID": "7", "SLURM_JOB_END_TIME": "1700000000"}) == 1.7e9
    squeue = tmp_path / "squeue"
    squeue.write_text('#!/bin/sh\n[ "$2" = --jobs=7 ] && echo 2026-01-02T03:04:05 || echo N/A\n')
    squeue.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    asked = datetime.datetime(2026, 1, 2, 3, 4, 5).timestamp()
    assert slurm_deadline({"SLURM_JOB_ID": "7"}) == asked
    assert slurm_deadline({"SLURM_JOB_ID": "8"}) is None
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    assert slurm_deadline({"SLURM_JOB_ID": "7"}) is None
