"""Commands of data sets: bring one in, write it out, verify, repair, compact, and merge."""

from __future__ import annotations

import argparse
from pathlib import Path

from hpcml.cli.command_words import Add, some_of
from hpcml.exits import DONE, FAILED

_ENDINGS = {
    "extxyz": ".xyz",
    "csv": ".csv",
    "parquet": ".parquet",
    "qcschema": ".jsonl",
    "pyg": ".pt",
}


def add_commands(add: Add) -> None:
    sub = add("import", _import, "bring a published data set into hpcml's form")
    sub.add_argument("kind", choices=["qm9"])
    sub.add_argument("source", type=Path, help="tar of xyz files, qm9pack wheel, or SDF beside CSV")
    sub.add_argument("--to", type=Path, default=Path("qm9"), metavar="DATASET")

    sub = add("export", _export, "write a data set in other programs' forms")
    sub.add_argument("dataset", type=Path, metavar="DATASET")
    sub.add_argument(
        "--to",
        type=some_of(*_ENDINGS),
        required=True,
        metavar="F,F",
        help=f"of {', '.join(_ENDINGS)}",
    )
    sub.add_argument(
        "--out", type=Path, default=Path(), metavar="DIR", help="this folder unless given"
    )

    sub = add("verify", _verify, "read every byte of a data set and say what is bad")
    sub.add_argument("dataset", type=Path, metavar="DATASET")

    sub = add("repair", _repair, "give shards whose manifest line was lost a line again")
    sub.add_argument("dataset", type=Path, metavar="DATASET")

    sub = add("compact", _compact, "write many small shards as few large ones")
    sub.add_argument("dataset", type=Path, metavar="DATASET")

    sub = add("merge", _merge, "join data sets of several runs, each result once")
    sub.add_argument("sources", type=Path, nargs="+", metavar="DATASET")
    sub.add_argument("--to", type=Path, required=True, metavar="DATASET")


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


def _repair(options: argparse.Namespace) -> int:
    from hpcml import store

    print(store.repair(options.dataset))
    return _verify(options)


def _compact(options: argparse.Namespace) -> int:
    from hpcml import store

    print(f"{store.compact(options.dataset)} shards in {options.dataset}")
    return DONE


def _merge(options: argparse.Namespace) -> int:
    from hpcml import store

    print(f"{store.merge(options.sources, options.to)} rows in {options.to}")
    return DONE
