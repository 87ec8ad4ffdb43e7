"""The command that writes a campaign file to begin with."""

from __future__ import annotations

import argparse
import os
import re
from pathlib import Path

from hpcml.cli.command_words import Command, inside
from hpcml.cli.output_files import check_output, write_output
from hpcml.errors import InputError
from hpcml.exits import DONE
from hpcml.progress import tell


def commands() -> list[Command]:
    """The command of this file."""
    return [
        Command(
            name="init",
            help="write a campaign file with every setting in it, explained",
            words=_words,
            run=_init,
        )
    ]


def _words(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "campaign", type=Path, nargs="?", default=Path("campaign.toml"), metavar="CAMPAIGN.toml"
    )
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--molecules", type=Path, metavar="FILE", help="to compute (molecules.xyz unless given)"
    )
    source.add_argument(
        "--dataset", type=inside("dataset"), metavar="DATASET", help="to learn from instead"
    )


def _init(options: argparse.Namespace) -> int:
    from hpcml.campaign_template import template

    path: Path = options.campaign
    if path.exists():
        raise InputError(f"{path}: exists already; name another file, or remove it first")
    check_output(path)
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", path.stem).strip("-._") or "campaign"
    text = template(
        name,
        molecules=_seen_from(options.molecules, path) if options.molecules else "molecules.xyz",
        dataset=_seen_from(options.dataset, path) if options.dataset else "",
        file=path,
    )
    write_output(path, text)
    tell(f"init: {path} written, with defaults behind #; next: hpcml check {path}")
    return DONE


def _seen_from(target: Path, campaign: Path) -> str:
    """A path as a campaign file names it: from its own folder, or whole where given so."""
    return str(target) if target.is_absolute() else os.path.relpath(target, campaign.parent)
