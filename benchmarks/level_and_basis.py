"""How far a hyperpolarizability is from CCSD(T) by method, and from the basis set's limit.


    python benchmarks/level_and_basis.py [--molecules water formaldehyde] [--bases ...]
        [--methods HF PBE B3LYP CAM-B3LYP] [--basis aug-cc-pVDZ] [--without-ccsd]

Static beta along the dipole and mean polarizability in atomic units, by hpcml.compute with exact
integrals.  Two tables for each molecule:

    bases      Hartree-Fock in each basis set, and its distance from the last one
    methods    each method in one basis set, and its distance from CCSD(T) in the same one,
               which PySCF gives by finite fields of its energies, core electrons included

Finite fields of Hartree-Fock energies stand beside the analytic ones in the second table: how far
they agree is how far the CCSD(T) numbers can be trusted.  seconds are those of the processor.
"""

from __future__ import annotations

import argparse
import os
import resource
from collections.abc import Callable

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from pyscf import cc, gto, scf
from rich.console import Console
from rich.table import Table

import hpcml

MOLECULES = {
    # experimental geometries (angstrom), the dipole along z: Hoy and Bunker, J. Mol. Spectrosc. 74,
    # 1 (1979); Takagi and Oka, J. Phys. Soc. Jpn. 18, 1174 (1963)
    "water": ([8, 1, 1], [(0, 0, 0), (0, 0.7572, 0.5865), (0, -0.7572, 0.5865)]),
    "formaldehyde": (
        [6, 8, 1, 1],
        [(0, 0, 0), (0, 0, -1.203), (0, 0.9344, 0.5872), (0, -0.9344, 0.5872)],
    ),
}
BASES = ("6-31G(d)", "6-31+G(d)", "aug-cc-pVDZ", "d-aug-cc-pVDZ", "aug-cc-pVTZ", "d-aug-cc-pVTZ")
METHODS = ("HF", "PBE", "B3LYP", "CAM-B3LYP")
STEP = 0.004  # of a field, atomic units


def processor_seconds() -> float:
    """Those of this process and of the children that have ended."""
    own, others = (
        resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return own.ru_utime + own.ru_stime + others.ru_utime + others.ru_stime


def analytic(name: str, method: str, basis: str) -> tuple[float, float, float]:
    """(alpha_iso, beta_parallel, seconds) by hpcml."""
    before = processor_seconds()
    molecule = hpcml.Molecule(*MOLECULES[name], name=name)
    found = hpcml.compute(
        molecule, method, basis, ["dipole", "alpha", "beta"], exact=True, threads=1
    )
    values = found.scalars()
    return values["alpha_iso"][0], values["beta_parallel"][0], processor_seconds() - before


def by_fields(name: str, basis: str, correlated: bool) -> tuple[float, float, float]:
    """The same by finite fields of the energies of Hartree-Fock or CCSD(T), from two steps each.

    E(F) = E(0) - mu F - 1/2 alpha F^2 - 1/6 beta F^3; the planes x = 0 and y = 0 are mirrors.
    """
    before = processor_seconds()
    numbers, positions = MOLECULES[name]
    system = gto.M(atom=list(zip(numbers, positions, strict=True)), basis=basis, verbose=0)
    energies: dict[tuple[int, int, int], float] = {}

    def energy(x: int, y: int, z: int) -> float:
        steps = (abs(x), abs(y), z)
        if steps not in energies:
            energies[steps] = _energy(system, STEP * np.array(steps), correlated)
        return energies[steps]

    alpha, beta = (_extrapolated(of, energy) for of in (_alpha, _beta))
    dipole = energy(0, 0, -1) - energy(0, 0, 1)
    return alpha, np.sign(dipole) * beta, processor_seconds() - before


def _energy(system: gto.Mole, field: np.ndarray, correlated: bool) -> float:
    reference = scf.RHF(system)
    reference.conv_tol, reference.conv_tol_grad = 1e-12, 1e-7
    one_electron = reference.get_hcore() + np.einsum("i,imn->mn", field, system.intor("int1e_r"))
    reference.get_hcore = lambda *_: one_electron
    reference.kernel()
    if not reference.converged:
        raise RuntimeError(f"no SCF at {field}")
    nuclei = -float(system.atom_charges() @ system.atom_coords() @ field)
    if not correlated:
        return float(reference.e_tot) + nuclei
    clusters = cc.CCSD(reference)
    clusters.conv_tol, clusters.conv_tol_normt, clusters.max_cycle = 1e-11, 1e-8, 100
    clusters.kernel()
    if not clusters.converged:
        raise RuntimeError(f"no CCSD at {field}")
    return float(clusters.e_tot + clusters.ccsd_t()) + nuclei


Energies = Callable[[int, int, int], float]


def _extrapolated(of: Callable[[Energies, int], float], energy: Energies) -> float:
    """What is left as the step goes to zero, the error falling with its square."""
    return (4.0 * of(energy, 1) - of(energy, 2)) / 3.0


def _alpha(energy: Energies, n: int) -> float:
    square = (n * STEP) ** 2
    middle = energy(0, 0, 0)
    along_z = energy(0, 0, n) + energy(0, 0, -n) - 2 * middle
    others = 2 * (energy(n, 0, 0) + energy(0, n, 0) - 2 * middle)
    return -(along_z + others) / (3 * square)


def _beta(energy: Energies, n: int) -> float:
    """3/5 (beta_zxx + beta_zyy + beta_zzz)."""
    cube = (n * STEP) ** 3
    ends = energy(0, 0, 2 * n) - energy(0, 0, -2 * n)
    zzz = (ends - 2 * energy(0, 0, n) + 2 * energy(0, 0, -n)) / (2 * cube)
    mixed = 0.0
    for x, y in ((n, 0), (0, n)):
        mixed += energy(x, y, n) - energy(0, 0, n) - energy(x, y, -n) + energy(0, 0, -n)
    return -0.6 * (zzz + mixed / cube)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--molecules", nargs="+", choices=MOLECULES, default=list(MOLECULES))
    parser.add_argument("--bases", nargs="+", default=list(BASES))
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--basis", default="aug-cc-pVDZ", help="the methods' basis set")
    parser.add_argument("--without-ccsd", action="store_true", help="leave CCSD(T) out")
    options = parser.parse_args()
    console = Console(width=100)
    for name in options.molecules:
        rows = [(basis, *analytic(name, "HF", basis)) for basis in options.bases]
        _print(console, f"{name}: HF in each basis set", rows, f"from {options.bases[-1]}")
        rows = [(method, *analytic(name, method, options.basis)) for method in options.methods]
        rows.append(("HF by fields", *by_fields(name, options.basis, False)))
        against = rows[-1][0]
        if not options.without_ccsd:
            rows.append(("CCSD(T) by fields", *by_fields(name, options.basis, True)))
            against = "CCSD(T)"
        _print(console, f"{name}: each method in {options.basis}", rows, f"from {against}")


def _print(
    console: Console, title: str, rows: list[tuple[str, float, float, float]], against: str
) -> None:
    table = Table(title=title, title_justify="left")
    for head in ("", "alpha", against, "beta", against, "seconds"):
        table.add_column(head, justify="left" if not head else "right")
    (_, last_alpha, last_beta, _) = rows[-1]
    for label, alpha, beta, seconds in rows:
        apart = [
            f"{100 * (alpha / last_alpha - 1):+.1f} %",
            f"{100 * (beta / last_beta - 1):+.1f} %",
        ]
        table.add_row(label, f"{alpha:.3f}", apart[0], f"{beta:.2f}", apart[1], f"{seconds:.1f}")
    console.print(table)


if __name__ == "__main__":
    main()
