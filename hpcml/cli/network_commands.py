"""Commands of trained networks: predictions for other molecules."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from hpcml.cli.command_words import Command, inside
from hpcml.cli.output_files import check_output, write_output
from hpcml.errors import HpcmlError
from hpcml.exits import DONE, FAILED


def commands() -> list[Command]:
    """The commands of this file."""
    return [
        Command(
            name="predict",
            help="predictions of a trained network for other molecules",
            words=_predict_words,
            run=_predict,
        )
    ]


def _predict_words(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model", type=inside("model"), metavar="MODEL", help="a run, or its model folder"
    )
    parser.add_argument("molecules", type=inside("dataset"), metavar="MOLECULES")
    parser.add_argument("--explain", action="store_true", help="with each atom's relevance")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="instead of to the screen")


def _predict(options: argparse.Namespace) -> int:
    from hpcml.predict_file import predict_file

    if options.csv is not None:
        check_output(options.csv)
    table, failed = predict_file(options.model, options.molecules, explain=options.explain)
    if options.csv is None:
        sys.stdout.write(table)
    else:
        try:
            write_output(options.csv, table)
        except HpcmlError:
            sys.stdout.write(table)  # what was computed is not lost
            raise
    for line in failed:
        print(f"failed (input): {line}", file=sys.stderr)
    return FAILED if failed else DONE
