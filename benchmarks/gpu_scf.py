"""How much faster is a molecule by GPU4PySCF than by PySCF, and is it the same?

    python benchmarks/gpu_scf.py [--molecules glycine valine] [--methods HF B3LYP] [--basis NAME]
        [--threads N]

Wants an NVIDIA GPU and gpu4pyscf; says in one line what is missing.  Columns:

    cpu, gpu     wall seconds of the SCF by each engine, all cores and the GPU theirs
    faster       cpu / gpu
    response     wall seconds of alpha and static beta after it, on the CPU either way
    energy       difference, hartree
    beta         largest difference over the largest component

The first SCF of each engine in the process is not counted: it loads libraries.
"""

from __future__ import annotations

import argparse
import os
import sys
import time

import numpy as np
from hyperpolarizability_cost import MOLECULES, molecule

from hpcml.errors import PlatformError
from hpcml.molecules.molecule import Molecule
from hpcml.response import Level, Request
from hpcml.response.engine import Resources, engine
from hpcml.response.tensors import tensors


def computed(
    system: Molecule, level: Level, threads: int
) -> tuple[float, float, float, np.ndarray]:
    """Seconds of the SCF and of the response, energy, and static beta."""
    started = time.perf_counter()
    resources = Resources(threads=threads, memory_mb=8000)
    with engine(level.engine).ground_state(system, level, resources) as state:
        scf = time.perf_counter() - started
        started = time.perf_counter()
        found = tensors(state, level, Request())
        response = time.perf_counter() - started
        return scf, response, state.energy, found.hyperpolarizability[0].tensor


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--molecules", nargs="+", choices=MOLECULES, default=["glycine", "valine"])
    parser.add_argument("--methods", nargs="+", default=["HF", "B3LYP"])
    parser.add_argument("--basis", default="aug-cc-pVDZ")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    arguments = parser.parse_args()
    try:
        engine("gpu4pyscf").prepare()
    except PlatformError as error:
        sys.exit(str(error))
    columns = ("cpu", "gpu", "faster", "response", "energy", "beta")
    print(f"{'':24s}" + "".join(f"{column:>10}" for column in columns))
    for method in arguments.methods:
        cpu, gpu = (
            Level(method=method, basis=arguments.basis, engine=name)
            for name in ("pyscf", "gpu4pyscf")
        )
        for level in (cpu, gpu):
            computed(molecule("glycine"), level, arguments.threads)
        for name in arguments.molecules:
            system = molecule(name)
            a = computed(system, cpu, arguments.threads)
            b = computed(system, gpu, arguments.threads)
            apart = float(np.abs(a[3] - b[3]).max() / np.abs(a[3]).max())
            cells = (a[0], b[0], a[0] / b[0], b[1], a[2] - b[2], apart)
            print(f"{name:16s}{method:8s}" + "".join(f"{cell:10.3g}" for cell in cells), flush=True)


if __name__ == "__main__":
    main()
