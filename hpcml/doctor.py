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

_SECONDS = 120

_PSI4 = """
import os, re, tempfile
os.chdir(tempfile.mkdtemp())
from hpcml.molecules.molecule import Molecule
from hpcml.response import Level, Request, compute
fluoride = Molecule([1, 9], [[0, 0, 0], [0, 0, 0.92]])
found = compute(fluoride, Level(method="B3LYP", basis="STO-3G"), Request())
beta = found.hyperpolarizability[0].tensor[2, 2, 2]
# 5.3769 by PySCF 2.14 in finite fields
assert abs(beta - 5.377) < 0.01, f"beta of HF at B3LYP/STO-3G is {beta:.4f} instead of 5.377"
libraries = set(re.findall(r"/\\S*(?:blas|mkl|blis)\\S*", open("/proc/self/maps").read()))
libraries = [name for name in libraries if "numpy" not in name and "scipy" not in name]
fast = [name for name in libraries if re.search("openblas|mkl|blis|atlas", name)]
version = found.provenance["program_version"]
print(version, os.path.basename(sorted(fast)[-1]) if fast else "reference")
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
    """Look at Psi4 and its BLAS, MPI, Horovod, Parsl and SLURM, in that order."""
    findings = []

    works, seen = _run([sys.executable, "-c", _PSI4])
    findings.append(
        Finding("Psi4", works, seen.split(" ")[0] if works else seen, "apt-get install psi4")
    )
    if works:
        blas = seen.split(" ", 1)[1]
        findings.append(
            Finding(
                "BLAS",
                blas != "reference",
                blas if blas != "reference" else "the reference BLAS, several times slower",
                "apt-get install libopenblas0-openmp",
            )
        )

    two_ranks = ["mpiexec", "-n", "2", sys.executable]
    if "Open MPI" in _run(["mpiexec", "--version"])[1] or shutil.which("ompi_info"):
        two_ranks[1:1] = ["--oversubscribe", "--bind-to", "none"]
    mend = "apt-get install openmpi-bin libopenmpi-dev; pip install mpi4py"
    works, seen = _run([*two_ranks, "-c", _MPI])
    findings.append(Finding("MPI, 2 ranks", works, seen, mend))

    works, seen = _run([*two_ranks, "-c", _HOROVOD])
    findings.append(Finding("Horovod, 2 ranks", works, seen, "make setup"))

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
