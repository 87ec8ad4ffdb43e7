"""The command for one molecule: its response properties on the screen."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import get_args

from hpcml.cli.command_words import Command, at_least, numbers, some_of
from hpcml.cli.output_files import check_output, write_output
from hpcml.errors import InputError
from hpcml.exits import DONE


def commands() -> list[Command]:
    """The commands of this file."""
    return [
        Command(
            name="compute",
            help="response properties of one molecule",
            words=_compute_words,
            run=_compute,
        )
    ]


def _compute_words(parser: argparse.ArgumentParser) -> None:
    from hpcml.response.level import Process, Property

    properties, processes = get_args(Property), get_args(Process)
    parser.add_argument("molecule", type=Path, metavar="MOL.xyz")
    parser.add_argument("--method", required=True, help="HF or a density functional's Psi4 name")
    parser.add_argument("--basis", required=True, help="a basis set's name or a .gbs file")
    parser.add_argument(
        "--charge", type=int, help="instead of what the file says (0 unless it does)"
    )
    parser.add_argument("--multiplicity", type=at_least(1), help="2S + 1, likewise")
    parser.add_argument(
        "--property",
        type=some_of(properties),
        default=("dipole", "alpha", "beta"),
        metavar="P,P",
        help=f"of {', '.join(properties)} (dipole,alpha,beta unless given)",
    )
    parser.add_argument(
        "--process",
        type=some_of(processes),
        default=("static",),
        metavar="P,P",
        help=f"of beta: {', '.join(processes)} (static unless given)",
    )
    parser.add_argument(
        "--frequency", type=numbers, default=(), metavar="W,W", help="in hartree, e.g. 0.0656"
    )
    parser.add_argument("--exact", action="store_true", help="no density fitting")
    parser.add_argument("--optimize", action="store_true", help="the geometry first")
    parser.add_argument("--threads", type=at_least(1), default=len(os.sched_getaffinity(0)))
    parser.add_argument("--memory", type=at_least(1), default=2000, metavar="MB")
    parser.add_argument("--json", type=Path, metavar="FILE")


def _compute(options: argparse.Namespace) -> int:
    import json
    import warnings

    from hpcml.errors import InputWarning
    from hpcml.molecules import Defect, read, restated
    from hpcml.response import Level, Request, compute

    if options.json is not None:
        check_output(options.json)
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
        document = json.dumps(properties.to_json(), indent=1, allow_nan=False)
        write_output(options.json, document + "\n")
    return DONE
