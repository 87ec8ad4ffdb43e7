"""The command for one molecule: its response properties on the screen."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from hpcml.cli.command_words import Add, numbers, some_of
from hpcml.errors import InputError
from hpcml.exits import DONE


def add_commands(add: Add) -> None:
    sub = add("compute", _compute, "response properties of one molecule")
    sub.add_argument("molecule", type=Path, metavar="MOL.xyz")
    sub.add_argument("--method", required=True, help="HF or a density functional's Psi4 name")
    sub.add_argument("--basis", required=True, help="a basis set's name or a .gbs file")
    sub.add_argument("--charge", type=int, help="instead of what the file says (0 unless it does)")
    sub.add_argument("--multiplicity", type=int, help="2S + 1, likewise")
    sub.add_argument(
        "--property",
        type=some_of("dipole", "alpha", "beta", "zpve", "shares"),
        default=("dipole", "alpha", "beta"),
        metavar="P,P",
        help="of dipole, alpha, beta, zpve, shares (dipole,alpha,beta unless given)",
    )
    sub.add_argument(
        "--process",
        type=some_of("static", "shg", "eope", "or"),
        default=("static",),
        metavar="P,P",
        help="of beta: static, shg, eope, or (static unless given)",
    )
    sub.add_argument(
        "--frequency", type=numbers, default=(), metavar="W,W", help="in hartree, e.g. 0.0656"
    )
    sub.add_argument("--exact", action="store_true", help="no density fitting")
    sub.add_argument("--optimize", action="store_true", help="the geometry first")
    sub.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    sub.add_argument("--memory", type=int, default=2000, metavar="MB")
    sub.add_argument("--json", type=Path, metavar="FILE")


def _compute(options: argparse.Namespace) -> int:
    import json
    import warnings

    from hpcml.errors import InputWarning
    from hpcml.molecules import Defect, read, restated
    from hpcml.response import Level, Request, compute

    with warnings.catch_warnings():
        if options.charge is not None:  # what the file leaves open is said here
            warnings.simplefilter("ignore", InputWarning)
        records = list(read(options.molecule))
    if len(records) != 1:
        raise InputError(
            f"{options.molecule}: holds {len(records)} molecules, compute takes one "
            "(hpcml run takes many)"
        )
    molecule = records[0]
    if isinstance(molecule, Defect):
        raise InputError(str(molecule))
    try:
        molecule = restated(molecule, options.charge, options.multiplicity)
    except InputError as error:
        raise InputError(f"{molecule.name}: {error}") from None
    level = Level(method=options.method, basis=options.basis, exact=options.exact)
    request = Request(
        properties=options.property,
        processes=options.process,
        frequencies=options.frequency,
        optimize=options.optimize,
    )
    properties = compute(
        molecule, level, request, threads=options.threads, memory_mb=options.memory
    )
    print(properties.table(molecule.symbols))
    if options.json is not None:
        options.json.write_text(json.dumps(properties.to_json(), indent=1, allow_nan=False) + "\n")
    return DONE
