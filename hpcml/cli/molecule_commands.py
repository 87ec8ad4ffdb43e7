"""The command for molecules by hand: their response properties on the screen."""

from __future__ import annotations

import argparse
import os
import sys
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from hpcml.cli.command_words import Command, at_least, numbers, one_of, some_of
from hpcml.cli.computed_output import Output
from hpcml.cluster.site import LEAST_MEMORY_MB
from hpcml.errors import HpcmlError, InputError, InputWarning, SettingsError
from hpcml.exits import DONE, FAILED, WORK_LEFT
from hpcml.files import no_such_file
from hpcml.progress import Advance, clock, progress, silent, tell

if TYPE_CHECKING:
    from hpcml.molecules import Defect, Molecule
    from hpcml.response import Level, Request


def commands() -> list[Command]:
    """The commands of this file."""
    return [
        Command(
            name="compute",
            help="response properties of a molecule, or of each in a file",
            words=_compute_words,
            run=_compute,
        )
    ]


def _compute_words(parser: argparse.ArgumentParser) -> None:
    from hpcml.response.level import EngineName, Process, Property

    properties, processes = get_args(Property), get_args(Process)
    parser.add_argument(
        "molecules", metavar="MOLECULES", nargs="+", help="files, or SMILES, one or several"
    )
    parser.add_argument("--method", required=True, help="HF or a density functional's Psi4 name")
    parser.add_argument("--basis", required=True, help="a basis set's name or a .gbs file")
    parser.add_argument(
        "--charge", type=int, help="instead of what the file says (0 unless it does)"
    )
    parser.add_argument(
        "--multiplicity",
        type=at_least(1),
        help="2S + 1, likewise; the lowest that fits unless said",
    )
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
    light = parser.add_mutually_exclusive_group()
    light.add_argument(
        "--frequency", type=numbers, default=(), metavar="W,W", help="in hartree, e.g. 0.0656"
    )
    light.add_argument(
        "--wavelength", type=numbers, default=(), metavar="L,L", help="in nm instead, e.g. 694.3"
    )
    parser.add_argument(
        "--engine",
        type=one_of(get_args(EngineName)),
        help=f"{', '.join(get_args(EngineName))} (Psi4 unless given; PySCF where it is missing)",
    )
    parser.add_argument(
        "--instability",
        type=one_of(("warn", "refuse", "follow")),
        default="warn",
        help="what to do about an SCF that is no minimum (warn unless given)",
    )
    parser.add_argument(
        "--damping", type=float, metavar="GAMMA", help="of alpha at frequencies, in hartree (none)"
    )
    parser.add_argument(
        "--solvent", "--pcm", metavar="NAME", help="refused: there is no continuum solvation (PCM)"
    )
    parser.add_argument("--exact", action="store_true", help="no density fitting")
    parser.add_argument(
        "--tight", action="store_true", help="stricter thresholds of SCF and response"
    )
    parser.add_argument("--optimize", action="store_true", help="the geometry first")
    parser.add_argument("--threads", type=at_least(1), default=len(os.sched_getaffinity(0)))
    parser.add_argument("--memory", type=at_least(LEAST_MEMORY_MB), default=2000, metavar="MB")
    _output_words(parser)


def _output_words(parser: argparse.ArgumentParser) -> None:
    from hpcml.response.unit_systems import SYSTEMS

    parser.add_argument(
        "--units",
        type=one_of(SYSTEMS),
        default="au",
        help=f"of dipole, alpha and beta: {', '.join(SYSTEMS)} (au unless given)",
    )
    parser.add_argument(
        "--tensors",
        action="store_true",
        help="of several molecules: all of each, instead of a row with what no rotation changes",
    )
    parser.add_argument(
        "--json",
        type=Path,
        metavar="FILE",
        help="write everything there as well; FILE.jsonl: a document a line, as they come; "
        "-: such lines to the screen instead of tables",
    )


def _compute(options: argparse.Namespace) -> int:
    try:
        return _computed(options)
    except KeyboardInterrupt:
        print("hpcml: stopped; the same command begins anew", file=sys.stderr)
        return WORK_LEFT


def _computed(options: argparse.Namespace) -> int:
    from hpcml.cluster import Site
    from hpcml.generation import Foreground
    from hpcml.generation.protocol.task import Orders
    from hpcml.interface.computing import computed
    from hpcml.response.unit_systems import SYSTEMS

    level, request = _level(options), _request(options)
    molecules, code = _molecules(options)
    several = len(molecules) > 1 or code == FAILED
    output = Output(
        options.json,
        SYSTEMS[options.units],
        several=several,
        tensors=options.tensors,
        names=max(len(molecule.name) for molecule in molecules),
    )
    site = Site(threads=options.threads, memory_mb=options.memory)
    began, done = time.monotonic(), 0
    with (
        Foreground(Orders(level=level, request=request, site=site)) as engine,
        _shown(len(molecules) if several else 0) as advance,
    ):
        for number, molecule in enumerate(molecules, start=1):
            try:
                output.take(computed(engine, molecule))
                done += 1
            except SettingsError:
                raise
            except HpcmlError as error:
                if not several:
                    raise
                print(f"failed ({error.cause}): {error}", file=sys.stderr)
                code = FAILED
            advance(number)
    output.close()
    where = f"; in {output.where}" if output.where else ""
    tell(
        f"compute: {done} of {len(molecules)} molecules at {level.label} "
        f"in {clock(time.monotonic() - began)}{where}"
    )
    return code


def _shown(total: int) -> AbstractContextManager[Advance]:
    """The progress of several molecules, where the rows themselves do not show it."""
    return nullcontext(silent) if not total or sys.stdout.isatty() else progress("compute", total)


def _level(options: argparse.Namespace) -> Level:
    from msgspec import UNSET

    from hpcml.response import Level
    from hpcml.response.engine import with_engine
    from hpcml.response.level import NO_SOLVENT

    if options.solvent is not None:
        raise SettingsError(f"--solvent: {NO_SOLVENT}")
    basis = options.basis
    if basis.endswith(".gbs"):  # the engine works in a folder of its own
        basis = str(Path(basis).resolve())
    level = Level(
        method=options.method,
        basis=basis,
        exact=options.exact,
        instability=options.instability,
        damping=UNSET if options.damping is None else options.damping,
        engine=options.engine or UNSET,
    )
    return with_engine(level.tight() if options.tight else level)


def _request(options: argparse.Namespace) -> Request:
    from hpcml.response import Request, units

    if any(length <= 0 for length in options.wavelength):
        raise SettingsError("--wavelength must be positive")
    lengths = tuple(units.frequency_from_wavelength(length) for length in options.wavelength)
    return Request(
        properties=options.property,
        processes=options.process,
        frequencies=options.frequency or lengths,
        optimize=options.optimize,
    )


def _molecules(options: argparse.Namespace) -> tuple[list[Molecule], int]:
    """The molecules of the files and the SMILES, with the charge that is asked for; FAILED where a
    record of several gave none and was named."""
    import warnings

    from hpcml.molecules import Defect, restated

    with warnings.catch_warnings():
        if options.charge is not None:  # what a file leaves open is said here
            warnings.simplefilter("ignore", InputWarning)
        records = [record for given in options.molecules for record in _records(given)]
    molecules, bad = [], []
    for record in records:
        if isinstance(record, Defect):
            bad.append(str(record))
            continue
        try:
            molecules.append(restated(record, options.charge, options.multiplicity))
        except InputError as error:
            bad.append(f"{record.name}: {error}")
    if not molecules:
        raise InputError(bad[0] + (f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""))
    for line in bad:
        print(f"failed (input): {line}", file=sys.stderr)
    return molecules, FAILED if bad else DONE


def _records(given: str) -> list[Molecule | Defect]:
    """What a file holds, or the molecule of a SMILES."""
    from hpcml.molecules import SUFFIXES, molecule_from_smiles, read

    path = Path(given)
    if path.suffix.lower() in SUFFIXES or path.exists():
        return list(read(path))
    try:
        return [molecule_from_smiles(given, given)]
    except InputError as error:
        raise InputError(f"{no_such_file(path)}; and as SMILES: {error}") from None
