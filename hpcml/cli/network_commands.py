"""Commands of trained networks: predictions for other molecules."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from hpcml.cli.command_words import Add
from hpcml.exits import DONE, FAILED


def add_commands(add: Add) -> None:
    sub = add("predict", _predict, "predictions of a trained network for other molecules")
    sub.add_argument("model", type=Path, metavar="MODEL", help="a run's model folder")
    sub.add_argument("molecules", type=Path, metavar="MOLECULES")
    sub.add_argument("--explain", action="store_true", help="with each atom's relevance")
    sub.add_argument("--csv", type=Path, metavar="FILE", help="instead of to the screen")


def _predict(options: argparse.Namespace) -> int:
    from hpcml.predict_file import predict_file
    from hpcml.relevance import ExplainSettings

    explain = ExplainSettings() if options.explain else None
    failed = predict_file(options.model, options.molecules, options.csv, explain=explain)
    for line in failed:
        print(f"failed (input): {line}", file=sys.stderr)
    return FAILED if failed else DONE
