"""Commands of data sets: bring one in, write it out, verify, repair, compact, and merge."""

from __future__ import annotations

import argparse
from pathlib import Path

from hpcml.cli.command_words import Add, some_of
from hpcml.errors import SettingsError
from hpcml.exits import DONE, FAILED

_ENDINGS = {
    "extxyz": ".xyz",
    "csv": ".csv",
    "parquet": ".parquet",
    "qcschema": ".jsonl",
    "pyg": ".pt",
}


def add_commands(add: Add) -> None:
    _add_import(add)

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


def _add_import(add: Add) -> None:
    sub = add(
        "import", _import, "bring a published data set, or one's own labels, into hpcml's form"
    )
    sub.add_argument("kind", choices=["qm9", "table"])
    sub.add_argument(
        "source",
        type=Path,
        help="qm9: tar of xyz files, qm9pack wheel, or SDF beside CSV; "
        "table: .csv or .tsv with SMILES, SDF with properties, extended xyz",
    )
    sub.add_argument(
        "--to", type=Path, default=None, metavar="DATASET", help="the kind's name unless given"
    )
    labels = sub.add_argument_group("of a table")
    for option, words in (
        ("--target", "what is to be learned, and where it stands in the file"),
        ("--atom-target", "what each atom contributes to a target of that name"),
    ):
        labels.add_argument(
            option,
            nargs="+",
            action="extend",
            default=[],
            metavar="NAME[=FIELD][:UNIT]",
            help=words,
        )
    labels.add_argument("--smiles-column", default="", metavar="NAME")


def _import(options: argparse.Namespace) -> int:
    from hpcml import store

    destination = options.to or Path(options.kind)
    if options.kind == "table":
        labels = [
            list(map(store.OwnLabel.said, words)) for words in (options.target, options.atom_target)
        ]
        print(
            store.import_table(
                options.source,
                destination,
                targets=labels[0],
                atom_targets=labels[1],
                smiles_column=options.smiles_column,
            )
        )
        return DONE
    if options.target or options.atom_target or options.smiles_column:
        raise SettingsError("import qm9: its columns are known; targets are those of a table")
    print(store.import_qm9(options.source, destination))
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
