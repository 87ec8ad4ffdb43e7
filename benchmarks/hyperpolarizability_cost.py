"""What a hyperpolarizability costs beside the SCF that it needs, and where the time goes.

    python benchmarks/hyperpolarizability_cost.py [--molecules glycine aniline valine]
        [--methods HF B3LYP] [--bases aug-cc-pVDZ "6-31+G(d)"] [--pyscf fitted exact]
        [--differences] [--accuracy] [--engine pyscf] [--json FILE]

One thread.  Seconds are those of the processor, so that other load on the machine counts little;
compare ratios within one run.  Columns:

    plain     Psi4's SCF with its own defaults, density-fitted, (75, 302) grid: the yardstick
    ours      SCF, alpha and static beta by hpcml.response, with Psi4 or --engine pyscf
    ratio     ours / plain
    SHG       beta(-2w; w, w) over static alpha and beta, without the SCF
    python    share of the response's time outside BLAS-heavy products, kernels and Psi4
    by diff   with --differences: processor seconds of the third derivatives as central differences,
              over those of LibXC's exact ones
    apart     with --differences: largest distance of the two betas over the largest component
    error     largest error of beta over its largest component, against converged settings
    pyscf     SCF and analytic beta of pyscf-properties, in the modes asked for, whichever is
              faster (its DFT beta lacks the third functional derivative), over ours; exact
              integrals in aug-cc-pVDZ take it a quarter of an hour from aniline on;
              wants pip install --no-deps pyscf-properties
    fields    Psi4's SCF and eight in a field (two along each axis, two along a diagonal: all that
              beta needs by symmetry), from one that is timed, over ours
    memory    most that this process held during ours, over the memory setting
    took      wall seconds of the whole line
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from rdkit import Chem
from rdkit.Chem import AllChem

from hpcml.molecules.molecule import Molecule
from hpcml.response import Level, Request, kernel_terms
from hpcml.response.density_variables import ThirdDerivatives
from hpcml.response.engine import Resources, engine
from hpcml.response.kernels import Kernel
from hpcml.response.psi4.reference import Reference
from hpcml.response.psi4.session import session
from hpcml.response.pyscf.ground import PySCFGroundState
from hpcml.response.tensors import tensors
from hpcml.response.two_electron import FittedIntegrals, MatrixBuilder

MOLECULES = {
    "glycine": "NCC(=O)O",
    "aniline": "Nc1ccccc1",
    "valine": "CC(C)C(N)C(=O)O",
    "p-nitroaniline": "Nc1ccc(cc1)[N+](=O)[O-]",
}
MEMORY_MB = 6000
FREQUENCY = 0.0656
TIGHT = {"scf_convergence": 1e-9, "response_convergence": 1e-8, "kernel_grid": (99, 590)}


def molecule(name: str) -> Molecule:
    """The MMFF geometry of one of the molecules, from a fixed seed."""
    system = Chem.AddHs(Chem.MolFromSmiles(MOLECULES[name]))
    AllChem.EmbedMolecule(system, randomSeed=7)
    AllChem.MMFFOptimizeMolecule(system)
    numbers = np.array([atom.GetAtomicNum() for atom in system.GetAtoms()])
    return Molecule(numbers, system.GetConformer().GetPositions(), name=name)


class Stages:
    """Processor seconds spent in some functions, without those nested inside one another."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._inside = False

    def watch(self, owner: Any, name: str, stage: str) -> None:
        plain: Callable[..., Any] = getattr(owner, name)

        def timed(*arguments: Any, **keywords: Any) -> Any:
            if self._inside:
                return plain(*arguments, **keywords)
            self._inside, started = True, time.process_time()
            try:
                return plain(*arguments, **keywords)
            finally:
                spent = time.process_time() - started
                self.seconds[stage] = self.seconds.get(stage, 0.0) + spent
                self._inside = False

        setattr(owner, name, timed)


STAGES = Stages()
for program in (Reference, PySCFGroundState):
    STAGES.watch(program, "two_electron", "fitted integrals")
STAGES.watch(Kernel, "__init__", "kernel setup")
STAGES.watch(Kernel, "on_occupied", "kernel products")
STAGES.watch(Kernel, "potentials", "kernel potentials")
STAGES.watch(Kernel, "third_order", "third derivatives")
STAGES.watch(kernel_terms, "second_order_terms", "second-order terms")
for implementation in (FittedIntegrals, MatrixBuilder):
    STAGES.watch(implementation, "occupied_virtual", "J/K products")
    STAGES.watch(implementation, "diagonal_blocks", "J/K blocks")


def seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    started = time.process_time()
    result = work()
    return time.process_time() - started, result


def plain_scf(system: Molecule, level: Level) -> tuple[float, float]:
    """Psi4's SCF at its defaults, and one more in a field from its orbitals."""
    with session(system, level, Resources(memory_mb=MEMORY_MB)) as (psi4, psi4_molecule, _):
        # Psi4's own thresholds, with which its users run
        psi4.set_options({"e_convergence": 1e-6, "d_convergence": 1e-6, "save_jk": False})
        name = level.method.lower()
        psi4.energy(name, molecule=psi4_molecule)  # the first one in a process reads libraries
        plain, _ = seconds(lambda: psi4.energy(name, molecule=psi4_molecule))
        psi4.set_options(
            {
                "perturb_h": True,
                "perturb_with": "dipole",
                "perturb_dipole": [0.0, 0.0, 2e-3],
                "guess": "read",
                "d_convergence": 1e-8,  # what second differences need
                "e_convergence": 1e-9,
            }
        )
        in_field, _ = seconds(lambda: psi4.energy(name, molecule=psi4_molecule))
    return plain, in_field


def ours(system: Molecule, level: Level, request: Request) -> tuple[float, float, dict, Any]:
    """Seconds of the SCF and of the response, the latter's stages, and the tensors."""
    STAGES.seconds = {}
    started = time.process_time()
    with engine(level.engine).ground_state(
        system, level, Resources(memory_mb=MEMORY_MB)
    ) as reference:
        scf = time.process_time() - started
        response, found = seconds(lambda: tensors(reference, level, request))
    return scf, response, dict(STAGES.seconds), found


def by_differences(system: Molecule, level: Level) -> tuple[float, Any]:
    """Seconds of the third derivatives as central differences, and the tensors by them."""
    exact = Reference.third_derivatives
    Reference.third_derivatives = lambda *_: ThirdDerivatives("central difference")  # type: ignore
    try:
        _, _, stages, found = ours(system, level, Request())
    finally:
        Reference.third_derivatives = exact  # type: ignore[method-assign]
    return stages["third derivatives"], found


def distance(found: Any, other: Any) -> float:
    """Largest difference of two static betas over the largest component."""
    a, b = (each.hyperpolarizability[0].tensor for each in (found, other))
    return float(np.abs(a - b).max() / np.abs(b).max())


def pyscf_seconds(system: Molecule, level: Level, modes: list[str]) -> dict[str, float]:
    """SCF and analytic beta of PySCF, with exact or fitted integrals."""
    from pyscf import dft, gto, lib, scf
    from pyscf.prop.polarizability import rhf

    lib.num_threads(1)
    atoms = list(zip(system.symbols, system.positions.tolist(), strict=True))
    found = {}
    for mode in modes:
        mol = gto.M(atom=atoms, basis=level.basis, verbose=0, max_memory=MEMORY_MB)
        mean_field = scf.RHF(mol) if level.method == "HF" else dft.RKS(mol, xc="b3lypg")
        if mode == "fitted":
            mean_field = mean_field.density_fit()

        def work(mean_field: Any = mean_field) -> None:
            mean_field.kernel()
            rhf.hyper_polarizability(rhf.Polarizability(mean_field))

        found[mode] = seconds(work)[0]
    return found


def peak_memory_mb() -> float:
    """Most resident memory of this process since its peak was last cleared (Linux)."""
    text = Path("/proc/self/status").read_text()
    return (
        int(next(line for line in text.splitlines() if line.startswith("VmHWM")).split()[1]) / 1e3
    )


def row(name: str, method: str, basis: str, arguments: argparse.Namespace) -> dict[str, Any]:
    started = time.perf_counter()
    system, level = molecule(name), Level(method=method, basis=basis, engine=arguments.engine)
    plain, in_field = plain_scf(system, level)
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    scf, response, stages, found = ours(system, level, Request())
    memory = peak_memory_mb() / MEMORY_MB
    shg = Request(properties=("beta",), processes=("shg",), frequencies=(FREQUENCY,))
    _, dynamic, _, _ = ours(system, level, shg)
    total = scf + response
    result: dict[str, Any] = {
        "molecule": name,
        "method": method,
        "basis": basis,
        "plain": plain,
        "ours": total,
        "scf": scf,
        "response": response,
        "ratio": total / plain,
        "shg": dynamic / response,
        "python": 1.0 - sum(stages.values()) / response,
        "stages": stages,
        "fields": (plain + 8 * in_field) / total,
        "memory": memory,
    }
    if arguments.differences:
        result["by diff"] = result["apart"] = float("nan")  # Hartree-Fock has none
        if "third derivatives" in stages:
            spent, differentiated = by_differences(system, level)
            result["by diff"] = spent / stages["third derivatives"]
            result["apart"] = distance(differentiated, found)
    if arguments.accuracy:
        tight = Level(method=method, basis=basis, engine=arguments.engine, **TIGHT)
        result["error"] = distance(found, ours(system, tight, Request())[3])
    if arguments.pyscf:
        result["pyscf_modes"] = pyscf_seconds(system, level, arguments.pyscf)
        result["pyscf"] = min(result["pyscf_modes"].values()) / total
    result["took"] = time.perf_counter() - started
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--molecules", nargs="+", choices=MOLECULES, default=list(MOLECULES))
    parser.add_argument("--methods", nargs="+", default=["HF", "B3LYP"])
    parser.add_argument("--bases", nargs="+", default=["6-31+G(d)", "aug-cc-pVDZ"])
    parser.add_argument(
        "--pyscf", nargs="+", choices=["fitted", "exact"], default=[], help="its modes to time"
    )
    parser.add_argument(
        "--differences",
        action="store_true",
        help="third derivatives both ways, where there are any",
    )
    parser.add_argument("--accuracy", action="store_true", help="compare with tight settings")
    parser.add_argument("--engine", choices=["psi4", "pyscf"], default="psi4", help="of ours")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    columns = ("plain", "ours", "scf", "response", "ratio", "shg", "python", "fields", "memory")
    extra = ("by diff", "apart") * arguments.differences
    extra += ("error",) * arguments.accuracy + ("pyscf",) * bool(arguments.pyscf) + ("took",)
    print(f"{'':32s}" + "".join(f"{column:>10}" for column in (*columns, *extra)))
    rows = []
    for basis in arguments.bases:
        for name in arguments.molecules:
            for method in arguments.methods:
                found = row(name, method, basis, arguments)
                rows.append(found)
                cells = "".join(f"{found[column]:10.3g}" for column in (*columns, *extra))
                print(f"{name:9s}{method:7s}{basis:16s}{cells}")
                stages = {**found["stages"], **found.get("pyscf_modes", {})}
                print("    " + ", ".join(f"{k} {v:.2f}" for k, v in stages.items()), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
