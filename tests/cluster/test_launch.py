"""MPI programs: their words, their environment, and a real one."""

import os
import shlex
import signal
import subprocess
import sys

import pytest

from hpcml.cluster import Site, mpi_command, mpi_environment, run_mpi
from hpcml.cluster.launch import shell_line
from hpcml.errors import PlatformError, SettingsError


def test_mpiexec_and_srun_are_told_ranks_and_nodes():
    local = Site(ranks_per_node=2, mpi_options=("--tag-output",))
    assert mpi_command(2, "a.b", ["--x", "y z"], local) == [
        *("mpiexec", "-n", "2", "--tag-output"),
        *(sys.executable, "-m", "a.b", "--x", "y z"),
    ]
    cluster = Site(
        kind="slurm", launcher="srun", nodes=3, ranks_per_node=2, threads=4, walltime="1:00:00"
    )
    assert mpi_command(6, "a.b", [], cluster)[:6] == [
        *("srun", "--nodes=3", "--ntasks=6", "--ntasks-per-node=2"),
        *("--cpus-per-task=4", "--kill-on-bad-exit=1"),
    ]
    assert mpi_command(1, "a.b", [], cluster)[1:4] == [
        *("--nodes=1", "--ntasks=1", "--ntasks-per-node=1"),
    ]
    assert mpi_environment(cluster)["SRUN_CPUS_PER_TASK"] == "4"


def test_a_shell_takes_the_line_apart_as_it_was_put_together():
    words = ["printf", "%s|", "a b", "$HOME", "'", '"', "`date`", "*", ";ls"]
    line = shell_line(words, {"HPCML_TEST": "$(date) 'x'"})
    printed = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True)
    assert printed.stdout == "".join(f"{word}|" for word in words[2:])
    assert shlex.split(line)[2] == "HPCML_TEST=$(date) 'x'"


def test_a_program_runs_on_its_ranks_and_its_failure_is_told(tmp_path, monkeypatch):
    (tmp_path / "ranks.py").write_text(
        "import sys\nfrom mpi4py import MPI\n"
        "world = MPI.COMM_WORLD\ntotal = world.allreduce(world.Get_rank() + 1)\n"
        # one write a line: mpiexec puts other words wherever a line is not ended
        "sys.stdout.write(f'sum {total}\\n')\nsys.stdout.flush()\n"
        "if sys.argv[1:]:\n"
        "    sys.stderr.write('ValueError: no such thing\\n')\n"
        "    sys.exit(1)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    site = Site(ranks_per_node=2)
    looks = []
    run_mpi(2, "ranks", [], site, tmp_path / "log", watch=lambda: looks.append(1))
    assert (tmp_path / "log").read_text().count("sum 3") == 2
    assert looks
    with pytest.raises(PlatformError, match=r"ranks ended with status 1: .*no such thing \(see"):
        run_mpi(2, "ranks", ["fail"], site, tmp_path / "log")


LISTENING = """
import os, sys
from mpi4py import MPI
MPI.COMM_WORLD.allreduce(1)
own = {os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")
       if os.path.lexists(f"/proc/self/fd/{fd}")}
heard = []
for path in ("/proc/net/tcp", "/proc/net/tcp6"):
    for words in map(str.split, open(path).readlines()[1:]):
        if words[3] == "0A" and f"socket:[{words[9]}]" in own:
            heard.append(words[1])
sys.stdout.write(f"rank listens at {heard}\\n")
"""


def test_ranks_on_one_machine_listen_to_no_network(tmp_path, monkeypatch):
    (tmp_path / "listening.py").write_text(LISTENING)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    run_mpi(2, "listening", [], Site(), tmp_path / "log")
    assert (tmp_path / "log").read_text().count("rank listens at []") == 2


def test_wrong_settings_are_told_in_the_program_s_own_line(tmp_path, monkeypatch):
    (tmp_path / "wrong.py").write_text(
        "import sys\nfrom mpi4py import MPI\n"
        "if MPI.COMM_WORLD.rank == 0:\n"
        "    print('hpcml train: no model is called weev', flush=True)\n"
        "sys.exit(2)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(SettingsError, match=r"^train: no model is called weev$"):
        run_mpi(2, "wrong", [], Site(), tmp_path / "log")
    assert "exit code" in (tmp_path / "log").read_text().lower()


def test_a_program_that_was_asked_to_stop_has_work_left_however_srun_ends_it(tmp_path, monkeypatch):
    """srun ends the other ranks, by SIGTERM, as soon as the first one has stopped with 85."""
    srun = tmp_path / "srun"
    srun.write_text("#!/bin/bash\ntrap 'exit 143' USR1\ntouch up\nsleep 60 & wait\n")
    srun.chmod(0o700)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    site = Site(kind="allocation", launcher="srun", ranks_per_node=1)

    def watch():
        if (tmp_path / "up").exists():
            (tmp_path / "up").unlink()
            os.kill(os.getpid(), signal.SIGUSR1)

    assert not run_mpi(1, "ranks", [], site, tmp_path / "log", watch=watch)
    srun.write_text("#!/bin/bash\nexit 143\n")
    with pytest.raises(PlatformError, match="status 143"):
        run_mpi(1, "ranks", [], site, tmp_path / "log")


def test_a_program_that_does_not_heed_the_word_to_stop_is_ended_with_work_left(
    tmp_path, monkeypatch
):
    (tmp_path / "deaf.py").write_text(
        "import pathlib, signal, sys, time\n"
        "signal.signal(signal.SIGUSR1, signal.SIG_IGN)\n"
        "pathlib.Path(sys.argv[1]).touch()\n"
        "time.sleep(60)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    monkeypatch.setattr("hpcml.cluster.launch._SECONDS_TO_STOP", 0.5)
    begun = tmp_path / "begun"

    def stop_it():
        if begun.exists():
            os.kill(os.getpid(), signal.SIGTERM)

    site = Site(ranks_per_node=1)
    assert run_mpi(1, "deaf", [str(begun)], site, tmp_path / "log", watch=stop_it) is False
