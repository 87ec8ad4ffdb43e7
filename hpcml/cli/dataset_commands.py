"""Commands of data sets: bring one in, write it out, verify, repair, compact, and merge."""

from __future__ import annotations

import argparse
from pathlib import Path

from hpcml.cli.command_words import Command, inside, some_of
from hpcml.cli.output_files import check_output
from hpcml.exits import DONE, FAILED
from hpcml.files import make_folder


def commands() -> list[Command]:
    """The commands of this file."""
    return [
        Command(
            name="import",
            help="bring a published data set into hpcml's form",
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
            words=_one_data_set,
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


def _import_words(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("kind", choices=["qm9"])
    parser.add_argument(
        "source", type=Path, help="tar of xyz files, qm9pack wheel, or SDF beside CSV"
    )
    parser.add_argument("--to", type=Path, default=Path("qm9"), metavar="DATASET")


def _import(options: argparse.Namespace) -> int:
    from hpcml import store

    print(store.import_qm9(options.source, options.to))
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


def _merge_words(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("sources", type=inside("dataset"), nargs="+", metavar="DATASET")
    parser.add_argument("--to", type=Path, required=True, metavar="DATASET")


def _merge(options: argparse.Namespace) -> int:
    from hpcml import store

    print(f"{store.merge(options.sources, options.to)} rows in {options.to}")
    return DONE
