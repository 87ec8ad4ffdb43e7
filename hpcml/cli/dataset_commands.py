"""Commands of data sets: bring one in, write it out, verify, repair, compact, and merge."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path

from hpcml.cli.command_words import Command, inside, some_of
from hpcml.cli.output_files import check_output
from hpcml.errors import SettingsError
from hpcml.exits import DONE, FAILED
from hpcml.files import make_folder
from hpcml.progress import tell


def commands() -> list[Command]:
    """The commands of this file."""
    return [
        Command(
            name="import",
            help="bring a published data set, or one's own labels, into hpcml's form",
            words=_import_words,
            run=_import,
        ),
        Command(
            name="export",
            help="write a data set in other programs' forms",
            words=_export_words,
            run=_export,
        ),
        Command(
            name="verify",
            help="read every byte of a data set and say what is bad",
            words=_verify_words,
            run=_verify,
        ),
        Command(
            name="repair",
            help="give shards whose manifest line was lost a line again",
            words=_one_data_set,
            run=_repair,
        ),
        Command(
            name="compact",
            help="write many small shards as few large ones",
            words=_one_data_set,
            run=_compact,
        ),
        Command(
            name="merge",
            help="join data sets of several runs, each result once",
            words=_merge_words,
            run=_merge,
        ),
    ]


def _one_data_set(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "dataset", type=inside("dataset"), metavar="DATASET", help="its folder, or a run's"
    )


def _verify_words(parser: argparse.ArgumentParser) -> None:
    _one_data_set(parser)
    parser.add_argument("--json", action="store_true", help="for programs")


def _import_words(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("kind", choices=["qm9", "table"])
    parser.add_argument(
        "source",
        type=Path,
        help="qm9: tar of xyz files, qm9pack wheel, or SDF beside CSV; "
        "table: .csv or .tsv with SMILES, SDF with properties, extended xyz",
    )
    parser.add_argument(
        "--to", type=Path, default=None, metavar="DATASET", help="the kind's name unless given"
    )
    labels = parser.add_argument_group("of a table")
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
        imported = store.import_table(
            options.source,
            destination,
            targets=labels[0],
            atom_targets=labels[1],
            smiles_column=options.smiles_column,
        )
        return _imported(imported, destination)
    if options.target or options.atom_target or options.smiles_column:
        raise SettingsError("import qm9: its columns are known; targets are those of a table")
    return _imported(store.import_qm9(options.source, destination), destination)


def _imported(imported: object, destination: Path) -> int:
    """Print what an import did, and where it lies; the exit code."""
    print(imported)
    tell(f"import: in {destination}; what is in it: hpcml show {destination}")
    return DONE


def _export_words(parser: argparse.ArgumentParser) -> None:
    from hpcml.store.exports import FORMATS

    _one_data_set(parser)
    parser.add_argument(
        "--to",
        type=some_of(FORMATS),
        required=True,
        metavar="F,F",
        help=f"of {', '.join(FORMATS)}",
    )
    parser.add_argument(
        "--out", type=Path, default=Path(), metavar="DIR", help="this folder unless given"
    )


def _export(options: argparse.Namespace) -> int:
    from hpcml import store
    from hpcml.store.exports import FORMATS

    make_folder(options.out)
    name = options.dataset.resolve().name
    files = {form: options.out / f"{name}{FORMATS[form].ending}" for form in options.to}
    for path in files.values():
        check_output(path)
    for form, path in files.items():
        print(f"{store.export(options.dataset, form, path)} rows in {path}")
    return DONE


def _verify(options: argparse.Namespace) -> int:
    from hpcml import store

    report = store.verify(options.dataset)
    if options.json:
        told = dataclasses.asdict(report) | {"problems": list(map(str, report.problems))}
        print(json.dumps({"ok": report.ok, "dataset": str(options.dataset), **told}, indent=1))
    else:
        print(report)
    if not report.ok:
        tell(f"verify: what can be mended is mended by: hpcml repair {options.dataset}")
    return DONE if report.ok else FAILED


def _repair(options: argparse.Namespace) -> int:
    from hpcml import store

    print(store.repair(options.dataset))
    report = store.verify(options.dataset)
    print(report)
    return DONE if report.ok else FAILED


def _compact(options: argparse.Namespace) -> int:
    from hpcml import store

    print(f"{store.compact(options.dataset)} shards in {options.dataset}")
    return DONE


def _merge_words(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("sources", type=inside("dataset"), nargs="+", metavar="DATASET")
    parser.add_argument("--to", type=Path, required=True, metavar="DATASET")


def _merge(options: argparse.Namespace) -> int:
    from hpcml import store

    print(f"{store.merge(options.sources, options.to)} rows in {options.to}")
    return DONE
