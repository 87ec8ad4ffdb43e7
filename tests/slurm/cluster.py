"""A real SLURM of four nodes on this host, in a folder of its own, for tests and for trying out.

    python tests/slurm/cluster.py               a shell in which sbatch, srun, squeue work
    python tests/slurm/cluster.py COMMAND...    one command in that environment

It needs Debian's slurm-wlm and munge, uses free ports, its own munge key and socket, and no file
outside its folder.  When the command ends, or this program is killed, everything ends with it;
what a kill of the whole session may have left is cleaned away by the next start.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PREFIX = "hpcml-slurm-"
NODES = ("n1", "n2", "n3", "n4")
CPUS_PER_NODE = 2

# Dies with the process that starts it: one line, so that this file needs no package.
_TETHER = (
    "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 15, 0, 0, 0); "
    "os.execvp(sys.argv[1], sys.argv[1:])"
)

_CONFIGURATION = """\
ClusterName=hpcml
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
TmpFS={folder}/tmp.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0,bf_interval=1
ReturnToService=2
SlurmdTimeout=5
KillWait=5
MpiDefault=none
PropagateResourceLimits=NONE
{nodes}
PartitionName=main Nodes=n[1-4] Default=YES MaxTime=INFINITE State=UP
PartitionName=short Nodes=n[1-2] MaxTime=10 State=UP
"""


class Cluster:
    """The cluster: ``up`` and ``down``, and the environment in which its commands work."""

    def __init__(self) -> None:
        clean_leftovers()
        self.folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir="/tmp"))  # sockets need short paths
        (self.folder / "owner").write_text(str(os.getpid()))
        self.daemons: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def environment(self) -> dict[str, str]:
        """Variables to add: where SLURM's commands find it, and MPI over nodes of one host.

        All four nodes share one /dev/shm: the shared-memory transport and PMIx's data store
        there would take the other nodes' files for their own.
        """
        return {
            "SLURM_CONF": str(self.folder / "slurm.conf"),
            "OMPI_MCA_btl": "tcp,self",
            "PMIX_MCA_gds": "hash",
            "OMPI_ALLOW_RUN_AS_ROOT": "1",
            "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        }

    def up(self) -> Cluster:
        try:
            self._start()
        except BaseException:
            self.down()
            raise
        return self

    def _start(self) -> None:
        folder = self.folder
        key = folder / "munge.key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o400)
        for name in ["state", *(f"{kind}.{n}" for kind in ("spool", "tmp") for n in NODES)]:
            (folder / name).mkdir()
        ports = _free_ports(1 + len(NODES))
        host = socket.gethostname().split(".")[0]
        lines = [
            f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} "
            f"CPUs={CPUS_PER_NODE} RealMemory=20000 State=UNKNOWN"
            for name, port in zip(NODES, ports[1:], strict=True)
        ]
        (folder / "slurm.conf").write_text(
            _CONFIGURATION.format(
                host=host,
                ports=ports,
                folder=folder,
                user=pwd.getpwuid(os.geteuid()).pw_name,
                nodes="\n".join(lines),
            )
        )
        munged = ["--foreground", f"--socket={folder}/munge.socket", f"--key-file={key}"]
        munged += [f"--pid-file={folder}/munge.pid", f"--seed-file={folder}/munge.seed"]
        munged += [f"--log-file={folder}/munge.log", "--num-threads=2", "--force"]
        self._daemon("munged", [_find("munged"), *munged])
        self._until((folder / "munge.socket").exists, "munged")
        self._daemon("slurmctld", [_find("slurmctld"), "-D", "-f", f"{folder}/slurm.conf"])
        for name in NODES:
            self.start_node(name)
        self._until(lambda: self.idle_nodes() == len(NODES), "slurmctld")

    def start_node(self, name: str) -> None:
        """Start the slurmd of a node (again)."""
        self._daemon(name, [_find("slurmd"), "-D", "-N", name, "-f", f"{self.folder}/slurm.conf"])

    def stop_node(self, name: str) -> None:
        """Kill a node's slurmd, its steps and what they run, as a power cut would."""
        spool = f"spool.{name}"
        self.daemons.pop(name).kill()
        for process in self.processes():
            with contextlib.suppress(OSError):
                environment = Path(f"/proc/{process}/environ").read_bytes()
                line = Path(f"/proc/{process}/cmdline").read_bytes()
                if f"SLURMD_NODENAME={name}\0".encode() in environment or spool.encode() in line:
                    os.kill(process, signal.SIGKILL)

    def idle_nodes(self) -> int:
        answer = self.run("sinfo", "--noheader", "--partition=main", "--format=%D %t", check=False)
        counts = [line.split() for line in answer.splitlines()]
        return sum(int(count) for count, state in counts if state == "idle")

    def run(self, *command: str, check: bool = True, timeout: float = 60.0) -> str:
        """Standard output of a command in the cluster's environment."""
        return subprocess.run(
            command,
            env={**os.environ, **self.environment},
            stdout=subprocess.PIPE,
            stderr=None if check else subprocess.DEVNULL,
            text=True,
            check=check,
            timeout=timeout,
        ).stdout

    def state(self, job: str) -> str:
        """State of a job: PENDING, RUNNING, COMPLETED, FAILED, CANCELLED, TIMEOUT and so on."""
        fields = self.run("scontrol", "show", "job", "-o", job).split()
        return next(f.partition("=")[2] for f in fields if f.startswith("JobState="))

    def wait(self, job: str, seconds: float = 120.0) -> str:
        """The state in which a job ends; AssertionError if it does not."""
        end = time.monotonic() + seconds
        while (state := self.state(job)) in ("PENDING", "RUNNING", "COMPLETING", "CONFIGURING"):
            assert time.monotonic() < end, f"job {job} is still {state} after {seconds:g} s"
            time.sleep(0.2)
        return state

    def cancel_all(self) -> None:
        """Cancel every job and wait until the nodes are idle."""
        self.run("scancel", "--state=PENDING", check=False)
        self.run("scancel", "--state=RUNNING", check=False)
        self._until(lambda: self.idle_nodes() == len(NODES), "slurmctld")

    def processes(self) -> list[int]:
        """Everything that was started in this cluster's environment and still lives."""
        return _processes_of(self.folder)

    def down(self) -> None:
        """Cancel every job, end every daemon and remove the folder."""
        if "slurmctld" in self.daemons:
            with contextlib.suppress(subprocess.SubprocessError, OSError):
                self.run("scancel", "--state=PENDING", check=False, timeout=10)
                self.run("scancel", "--state=RUNNING", check=False, timeout=10)
        for daemon in self.daemons.values():
            daemon.terminate()
        for daemon in self.daemons.values():
            try:
                daemon.wait(timeout=5)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        self.daemons.clear()
        _clean(self.folder)

    def _daemon(self, name: str, command: list[str]) -> None:
        with (self.folder / f"{name}.out").open("ab") as output:
            self.daemons[name] = subprocess.Popen(
                [sys.executable, "-S", "-c", _TETHER, *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, "SLURM_CONF": str(self.folder / "slurm.conf")},
            )

    def _until(self, ready: object, name: str) -> None:
        end = time.monotonic() + 60
        while not ready():  # type: ignore[operator]
            for daemon, process in self.daemons.items():
                if process.poll() is not None:
                    raise RuntimeError(f"{daemon} ended at once: {self._words(daemon)}")
            if time.monotonic() > end:
                raise RuntimeError(f"{name} is not up after 60 s: {self._words(name)}")
            time.sleep(0.1)

    def _words(self, name: str) -> str:
        paths = [self.folder / f"{name}{suffix}" for suffix in (".out", ".log")]
        texts = [path.read_text(errors="replace") for path in paths if path.exists()]
        return " | ".join(" ".join(text.split())[-500:] for text in texts)


def clean_leftovers() -> None:
    """End and remove clusters whose owner is gone (it was killed)."""
    for folder in Path("/tmp").glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError, ValueError):
            if folder.stat().st_uid != os.geteuid():
                continue
            owner = int((folder / "owner").read_text())
            if not Path(f"/proc/{owner}").exists():
                _clean(folder)


def _clean(folder: Path) -> None:
    end = time.monotonic() + 10
    while (left := _processes_of(folder)) and time.monotonic() < end:
        for process in left:
            with contextlib.suppress(OSError):
                os.kill(process, signal.SIGKILL)
        time.sleep(0.1)
    shutil.rmtree(folder, ignore_errors=True)


def _processes_of(folder: Path) -> list[int]:
    mark = f"SLURM_CONF={folder}/slurm.conf\0".encode()
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if mark in path.read_bytes() and int(path.parent.name) != os.getpid():
                found.append(int(path.parent.name))
    return found


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]


def _find(program: str) -> str:
    found = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if found is None:
        raise RuntimeError(f"{program} is missing: apt-get install slurm-wlm munge")
    return found


def main() -> int:
    cluster = Cluster().up()
    try:
        print(cluster.run("sinfo"), file=sys.stderr)
        command = sys.argv[1:] or [os.environ.get("SHELL", "/bin/bash")]
        return subprocess.call(command, env={**os.environ, **cluster.environment})
    finally:
        cluster.down()


if __name__ == "__main__":
    sys.exit(main())
