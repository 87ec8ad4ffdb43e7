"""The command line: words to settings, settings to the rooms, errors to one line.

Exit codes: 0 done; 1 something failed, and each failure is named; 2 wrong usage, settings or
input; 85 stopped in time with work left.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

import hpcml
from hpcml.errors import HpcmlError, InputError, SettingsError
from hpcml.exits import DONE, FAILED, WORK_LEFT, WRONG

Command = Callable[[argparse.Namespace], int]

_SECONDS_BETWEEN_LOOKS = 2.0
_ENDINGS = {
    "extxyz": ".xyz",
    "csv": ".csv",
    "parquet": ".parquet",
    "qcschema": ".jsonl",
    "pyg": ".pt",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    command: Command = options.command
    try:
        return command(options)
    except (SettingsError, InputError) as error:
        print(f"hpcml: {error}", file=sys.stderr)
        return WRONG
    except HpcmlError as error:
        print(f"hpcml: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("hpcml: stopped by the keyboard; the same command goes on from here", file=sys.stderr)
        return WORK_LEFT
    except BrokenPipeError:  # the reader of our output (head, less) has left: nothing to say
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED


# --- the stages of a campaign ------------------------------------------------------------------


def _stages(options: argparse.Namespace) -> int:
    from hpcml import config, pipeline

    campaign = config.load(options.campaign)
    if options.dry_run:
        print(pipeline.describe(campaign, options.run, options.stages))
        return DONE
    code = pipeline.run(campaign, options.run, options.stages)
    if options.faithfulness and code == DONE:
        _show_faithfulness(pipeline.faithfulness(campaign, options.run))
    return code


def _show_faithfulness(path: Path) -> None:
    """The table of rules in columns, to three digits, and how to read it."""
    import csv

    from hpcml.analysis.comparison import LEGEND

    def cell(text: str) -> str:
        try:
            return f"{float(text):.3g}"
        except ValueError:
            return text

    with path.open(newline="", encoding="utf-8") as file:
        rows = [[cell(text) for text in row] for row in csv.reader(file)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        first, *others = (text.rjust(width) for text, width in zip(row, widths, strict=True))
        print("  ".join([first.strip().ljust(widths[0]), *others]))
    print(f"{LEGEND}\n{path}")


def _submit(options: argparse.Namespace) -> int:
    from hpcml import config, pipeline

    pipeline.submit(
        config.load(options.campaign),
        options.run,
        config.load_site(options.site),
        stages=pipeline.STAGES,
        dry_run=options.dry_run,
    )
    return DONE


def _status(options: argparse.Namespace) -> int:
    from rich.live import Live

    from hpcml.cluster import RunFolder
    from hpcml.generation import status

    if not options.run.is_dir():
        raise InputError(f"{options.run}: no such folder of a run")
    run_folder = RunFolder(options.run)
    now = status(run_folder)
    if options.json:
        print(now.to_json())
        return DONE
    if not options.watch:
        print(now.table())
        return DONE
    with Live(now.table(), auto_refresh=False) as screen:
        while now.state == "running":
            time.sleep(_SECONDS_BETWEEN_LOOKS)
            now = status(run_folder)
            screen.update(now.table(), refresh=True)
    return DONE


def _retry(options: argparse.Namespace) -> int:
    from hpcml.cluster import RunFolder
    from hpcml.generation import failures

    run_folder = RunFolder(options.run)
    with run_folder.lock():
        forgotten = failures.forget(run_folder.failures, [options.cause])
    if not forgotten:
        causes = failures.by_cause(failures.read(run_folder.failures).values())
        raise InputError(
            f"{run_folder.failures}: no failure of cause {options.cause!r}; "
            f"there are {causes or 'none at all'}"
        )
    print(f"{len(forgotten)} molecules to be tried again by `hpcml generate` or `hpcml run`")
    return DONE


# --- one molecule ------------------------------------------------------------------------------


def _compute(options: argparse.Namespace) -> int:
    import json
    from dataclasses import replace

    from hpcml.molecules import Defect, read
    from hpcml.response import Level, Request, compute

    records = list(read(options.molecule))
    if len(records) != 1:
        raise InputError(
            f"{options.molecule}: holds {len(records)} molecules, compute takes one "
            "(hpcml run takes many)"
        )
    molecule = records[0]
    if isinstance(molecule, Defect):
        raise InputError(str(molecule))
    if options.charge is not None:
        molecule = replace(molecule, charge=options.charge)
    if options.multiplicity is not None:
        molecule = replace(molecule, multiplicity=options.multiplicity)
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


# --- data sets ---------------------------------------------------------------------------------


def _import(options: argparse.Namespace) -> int:
    from hpcml import store

    print(store.import_qm9(options.source, options.to))
    return DONE


def _export(options: argparse.Namespace) -> int:
    from hpcml import store

    options.out.mkdir(parents=True, exist_ok=True)
    for form in options.to:
        destination = options.out / f"{options.dataset.resolve().name}{_ENDINGS[form]}"
        rows = store.export(options.dataset, form, destination)
        print(f"{rows} rows in {destination}")
    return DONE


def _verify(options: argparse.Namespace) -> int:
    from hpcml import store

    report = store.verify(options.dataset)
    print(report)
    return DONE if report.ok else FAILED


def _compact(options: argparse.Namespace) -> int:
    from hpcml import store

    print(f"{store.compact(options.dataset)} shards in {options.dataset}")
    return DONE


def _merge(options: argparse.Namespace) -> int:
    from hpcml import store

    print(f"{store.merge(options.sources, options.to)} rows in {options.to}")
    return DONE


# --- networks ----------------------------------------------------------------------------------


def _predict(options: argparse.Namespace) -> int:
    from hpcml.predict_file import predict_file

    table, failed = predict_file(options.model, options.molecules, explain=options.explain)
    if options.csv is None:
        sys.stdout.write(table)
    else:
        options.csv.write_text(table, encoding="utf-8")
    for line in failed:
        print(f"failed (input): {line}", file=sys.stderr)
    return FAILED if failed else DONE


def _doctor(_options: argparse.Namespace) -> int:
    from hpcml.doctor import examine

    findings = examine()
    for finding in findings:
        print(f"{'ok     ' if finding.works else 'MISSING'}  {finding.what:<17} {finding.seen}")
        if not finding.works:
            print(f"         {'':<17} mend: {finding.mend}")
    return DONE if all(finding.works for finding in findings) else FAILED


# --- the words ---------------------------------------------------------------------------------


def _list(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _some_of(*choices: str) -> Callable[[str], tuple[str, ...]]:
    """A converter of "a,b" that takes these words only."""

    def convert(text: str) -> tuple[str, ...]:
        words = _list(text)
        for word in words:
            if word not in choices:
                raise argparse.ArgumentTypeError(f"{word!r} is none of {', '.join(choices)}")
        return words

    return convert


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(word) for word in _list(text))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a list of numbers such as 0.0428,0.0656"
        ) from None


class _Parser(argparse.ArgumentParser):
    """A parser that answers wrong usage with one line, as everything here does."""

    def error(self, message: str) -> NoReturn:
        self.exit(WRONG, f"{self.prog}: {message} (see {self.prog} --help)\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="hpcml",
        description="Response properties of many molecules, and networks asked for their reasons.",
    )
    parser.add_argument("--version", action="version", version=f"hpcml {hpcml.__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def add(name: str, command: Command, text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        sub.set_defaults(command=command)
        return sub

    _campaign_words(add)
    _molecule_words(add)
    _data_set_words(add)
    _network_words(add)
    add("doctor", _doctor, "what is installed, and does it work")
    return parser


Add = Callable[[str, Command, str], argparse.ArgumentParser]


def _campaign_words(add: Add) -> None:
    stages = {
        "run": "all stages of a campaign, each only as far as it is not done",
        "generate": "compute the molecules that are missing in the data set",
        "train": "train the network on the data set",
        "explain": "propagate the network's predictions back to the atoms",
        "analyze": "hold relevances against what physics assigns to each atom",
        "report": "write the report page",
    }
    for name, text in stages.items():
        sub = add(name, _stages, text)
        sub.add_argument("campaign", type=Path, metavar="CAMPAIGN.toml")
        sub.add_argument(
            "--run", type=Path, metavar="DIR", help="the run's folder (runs/NAME unless given)"
        )
        sub.add_argument(
            "--dry-run",
            action="store_true",
            help="print what would be done, its cost, and the sbatch script",
        )
        sub.set_defaults(stages=tuple(stages)[1:] if name == "run" else (name,))
        sub.set_defaults(faithfulness=False)
        if name == "analyze":
            sub.add_argument(
                "--faithfulness",
                action="store_true",
                help="also hold the rules against atom flipping, randomization, symmetry and noise",
            )

    sub = add("submit", _submit, "the same through SLURM, stages chained by dependency")
    sub.add_argument("campaign", type=Path, metavar="CAMPAIGN.toml")
    sub.add_argument("--site", type=Path, required=True, metavar="SITE.toml")
    sub.add_argument("--run", type=Path, metavar="DIR")
    sub.add_argument("--dry-run", action="store_true", help="print the sbatch scripts only")

    sub = add("status", _status, "what is done, running, failed and why, and the time left")
    sub.add_argument("run", type=Path, metavar="RUN")
    sub.add_argument("--watch", action="store_true", help="renew every few seconds")
    sub.add_argument("--json", action="store_true")

    sub = add("retry", _retry, "let failed molecules of one cause be tried again")
    sub.add_argument("run", type=Path, metavar="RUN")
    sub.add_argument("--cause", required=True, help="as it stands in failures.jsonl")


def _molecule_words(add: Add) -> None:
    sub = add("compute", _compute, "response properties of one molecule")
    sub.add_argument("molecule", type=Path, metavar="MOL.xyz")
    sub.add_argument("--method", required=True, help="HF or a density functional's Psi4 name")
    sub.add_argument("--basis", required=True, help="a basis set's name or a .gbs file")
    sub.add_argument("--charge", type=int, help="instead of what the file says (0 unless it does)")
    sub.add_argument("--multiplicity", type=int, help="2S + 1, likewise")
    sub.add_argument(
        "--property",
        type=_some_of("dipole", "alpha", "beta", "zpve", "shares"),
        default=("dipole", "alpha", "beta"),
        metavar="P,P",
        help="of dipole, alpha, beta, zpve, shares (dipole,alpha,beta unless given)",
    )
    sub.add_argument(
        "--process",
        type=_some_of("static", "shg", "eope", "or"),
        default=("static",),
        metavar="P,P",
        help="of beta: static, shg, eope, or (static unless given)",
    )
    sub.add_argument(
        "--frequency", type=_numbers, default=(), metavar="W,W", help="in hartree, e.g. 0.0656"
    )
    sub.add_argument("--exact", action="store_true", help="no density fitting")
    sub.add_argument("--optimize", action="store_true", help="the geometry first")
    sub.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    sub.add_argument("--memory", type=int, default=2000, metavar="MB")
    sub.add_argument("--json", type=Path, metavar="FILE")


def _data_set_words(add: Add) -> None:
    sub = add("import", _import, "bring a published data set into hpcml's form")
    sub.add_argument("kind", choices=["qm9"])
    sub.add_argument("source", type=Path, help="tar of xyz files, qm9pack wheel, or SDF beside CSV")
    sub.add_argument("--to", type=Path, default=Path("qm9"), metavar="DATASET")

    sub = add("export", _export, "write a data set in other programs' forms")
    sub.add_argument("dataset", type=Path, metavar="DATASET")
    sub.add_argument(
        "--to",
        type=_some_of(*_ENDINGS),
        required=True,
        metavar="F,F",
        help=f"of {', '.join(_ENDINGS)}",
    )
    sub.add_argument(
        "--out", type=Path, default=Path(), metavar="DIR", help="this folder unless given"
    )

    sub = add("verify", _verify, "read every byte of a data set and say what is bad")
    sub.add_argument("dataset", type=Path, metavar="DATASET")

    sub = add("compact", _compact, "write many small shards as few large ones")
    sub.add_argument("dataset", type=Path, metavar="DATASET")

    sub = add("merge", _merge, "join data sets of several runs, each result once")
    sub.add_argument("sources", type=Path, nargs="+", metavar="DATASET")
    sub.add_argument("--to", type=Path, required=True, metavar="DATASET")


def _network_words(add: Add) -> None:
    sub = add("predict", _predict, "predictions of a trained network for other molecules")
    sub.add_argument("model", type=Path, metavar="MODEL", help="a run's model folder")
    sub.add_argument("molecules", type=Path, metavar="MOLECULES")
    sub.add_argument("--explain", action="store_true", help="with each atom's relevance")
    sub.add_argument("--csv", type=Path, metavar="FILE", help="instead of to the screen")


if __name__ == "__main__":
    sys.exit(main())
