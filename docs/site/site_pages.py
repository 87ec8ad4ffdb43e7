"""Pages of the site that are made: settings and commands from the code, READMEs of other folders.

They are written into docs/made/ (which git ignores) before Sphinx reads anything.
"""

import argparse
import configparser
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from hpcml.analysis import AnalyzeSettings
from hpcml.cli import main
from hpcml.cluster import Site
from hpcml.config import Campaign, Molecules
from hpcml.models import MODELS, AutoencoderSettings
from hpcml.models.aev import AEVConstants
from hpcml.relevance import ExplainSettings
from hpcml.response import Level, Request
from hpcml.setting_docs import Setting, described, summary
from hpcml.study.study_settings import Study, StudyNetwork, StudySplit, StudyTarget
from hpcml.training import Target, TrainSettings
from hpcml.training.train_settings import Bounds

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
MADE = DOCS / "made"

TAKEN_IN = {
    ROOT / "slurm/README.md": MADE / "slurm.md",
    ROOT / "jobs/README.md": MADE / "jobs.md",
    ROOT / "benchmarks/README.md": MADE / "benchmarks.md",
    ROOT / "CONTRIBUTING.md": MADE / "contributing.md",
    ROOT / "CHANGELOG.md": MADE / "changelog.md",
}
"""Files of other folders -> their pages of the site."""

CAMPAIGN: dict[str, type[msgspec.Struct]] = {
    "The file itself": Campaign,
    "[molecules]": Molecules,
    "[level]": Level,
    "[properties]": Request,
    "[site], or a site file": Site,
    "[train]": TrainSettings,
    "[train] target, as a table": Target,
    "[train.within], a column's bounds": Bounds,
    "[explain]": ExplainSettings,
    "[analyze]": AnalyzeSettings,
}
STUDY: dict[str, type[msgspec.Struct]] = {
    "The study's file": Study,
    "[[targets]]": StudyTarget,
    "[networks.NAME]": StudyNetwork,
    "[splits.NAME]": StudySplit,
}
NETWORKS: dict[str, type[msgspec.Struct]] = {
    **{f'model = "{name}"': network.Settings for name, network in sorted(MODELS.items())},
    "[train.hyperparameters.aev] of ani": AEVConstants,
    "The autoencoder (hpcml.models.AutoencoderSettings)": AutoencoderSettings,
}
"""Heading in the reference of settings -> the struct it tells of."""


def write(_app: object = None) -> None:
    """Write all pages that are made; those that have not changed keep their time."""
    MADE.mkdir(exist_ok=True)
    pages = {MADE / "settings.md": settings_page(), MADE / "commands.md": commands_page()}
    pages |= {
        page: in_the_site(source.read_text(encoding="utf-8"), source.parent, page.parent)
        for source, page in TAKEN_IN.items()
    }
    for page, text in pages.items():
        if not page.exists() or page.read_text(encoding="utf-8") != text:
            page.write_text(text, encoding="utf-8")


# --- links -----------------------------------------------------------------------------------


def with_links_of_the_site(_app: object, page: str, source: list[str]) -> None:
    """For Sphinx's source-read: links that leave docs/ lead to where the site has the same."""
    if not page.startswith("made/"):
        source[0] = in_the_site(source[0], DOCS, DOCS)


def in_the_site(text: str, written_in: Path, read_in: Path) -> str:
    """A page's text with its relative links made those of the site.

    A file that has a page leads there, one of docs/ stays, any other leads to the repository where
    setup.cfg knows one, and is plain text elsewhere.
    """

    def moved(link: re.Match[str]) -> str:
        path, mark, anchor = link["to"].partition("#")
        target = Path(os.path.normpath(written_in / path))
        page = TAKEN_IN.get(target, target)
        if DOCS in page.parents:
            return f"{link['text']}({os.path.relpath(page, read_in)}{mark}{anchor})"
        if not target.exists():
            raise FileNotFoundError(f"{link[0]}: no {target.relative_to(ROOT)} here")
        if repository := _repository():
            return f"{link['text']}({repository}/blob/main/{target.relative_to(ROOT)})"
        return link["text"][1:-1]

    relative = r"(?P<text>(?<!!)\[[^][]*\])\((?P<to>(?!\w+:|#)[^()\s]+)\)"
    return re.sub(relative, moved, text)


def _repository() -> str:
    """Where the sources are, by the metadata; empty where they do not say."""
    metadata = configparser.ConfigParser(interpolation=None)
    metadata.read(ROOT / "setup.cfg")
    urls = metadata["metadata"].get("project_urls", "")
    found = re.search(r"(?:Source|Repository)[^=]*=\s*(\S+)", urls)
    return found[1].rstrip("/") if found else ""


# --- settings --------------------------------------------------------------------------------

_SETTINGS = """# Every setting

Made from the code: key, default, what it is for, and what may stand there. A key that does not
exist, or a value out of bounds, is refused by `hpcml check` with the nearest one that does. TOML
has no word for "nothing": a setting without a default is left out, or, where it says
**required**, must be given.

"""


def settings_page() -> str:
    """The reference of all settings, as Markdown."""
    parts = [_SETTINGS]
    for heading, structs in {
        "A campaign": CAMPAIGN,
        "Networks: [train.hyperparameters]": NETWORKS,
        "A study": STUDY,
    }.items():
        parts.append(f"## {heading}\n\n")
        for name, struct in structs.items():
            parts.append(f"### {name}\n\n{_markdown(summary(struct))}\n\n")
            parts += _table(("key", "default", "what it is"), map(_setting_row, described(struct)))
            parts.append("\n")
    return "".join(parts)


def _setting_row(setting: Setting) -> tuple[str, ...]:
    default = "**required**" if setting.required else ""
    if setting.default is not None:
        default = f"`{_shortened(setting.default)}`"
    return f"`{setting.name}`", default, f"{_markdown(setting.text)}<br>*{_markdown(setting.kind)}*"


def _shortened(default: str) -> str:
    return default if len(default) < 60 else f"{default[:50]} ...]"


# --- commands --------------------------------------------------------------------------------

_COMMANDS = """# Every command

Made from the parser; `hpcml COMMAND --help` says the same. Exit codes: 0 done; 1 something failed,
and each failure is named; 2 wrong usage, settings or input; 85 stopped in time with work left.

"""


def commands_page() -> str:
    """The reference of the command line, as Markdown."""
    parts = [_COMMANDS]
    for name, words in parsers().items():
        usage = " ".join(words.format_usage().removeprefix("usage: ").split())
        parts.append(f"## hpcml {name}\n\n{_markdown(words.description or '')}\n\n")
        parts.append(f"```text\n{_wrapped(usage)}\n```\n\n")
        parts += _table(("word", "what it does"), _words_rows(words))
        parts.append("\n")
    return "".join(parts)


def parsers() -> dict[str, argparse.ArgumentParser]:
    """Command -> its parser, with all its words."""
    found = {}
    for command in main._commands():
        words = main._parser([command.name])[2]
        assert words is not None
        found[command.name] = words
    return found


def _words_rows(words: argparse.ArgumentParser) -> Iterator[tuple[str, ...]]:
    for action in words._actions:
        if action.help == argparse.SUPPRESS or "--help" in action.option_strings:
            continue
        metavar = action.metavar if action.metavar is not None else action.dest.upper()
        value = metavar if isinstance(metavar, str) else " ".join(metavar)
        word = ", ".join(f"`{option}`" for option in action.option_strings) or f"`{value}`"
        if action.option_strings and action.nargs != 0:
            word += f" `{value}`"
        told = (action.help or "") % {**vars(action), "prog": words.prog}
        if told or action.option_strings:  # the usage line names the others
            yield word, _markdown(told)


def _wrapped(usage: str, width: int = 88) -> str:
    """A usage line, broken between its words and never within brackets."""
    lines = [""]
    for word in re.findall(r"\[[^][]*(?:\[[^][]*\][^][]*)*\]|\S+", usage):
        if len(lines[-1]) + len(word) > width:
            lines.append("   ")
        lines[-1] = f"{lines[-1]} {word}" if lines[-1] else word
    return "\n".join(lines)


# --- Markdown --------------------------------------------------------------------------------


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    """A Markdown table; nothing where there is no row."""
    written = [f"| {' | '.join(row)} |\n" for row in rows]
    if written:
        yield f"| {' | '.join(head)} |\n|{'---|' * len(head)}\n"
        yield from written


def _markdown(text: str) -> str:
    """Plain text of the code with no symbol that is markup, but for ``literals``."""
    parts = re.split(r"``(.+?)``", text)
    parts[::2] = [re.sub(r"([*_|<>\[\]\\`])", r"\\\1", part) for part in parts[::2]]
    parts[1::2] = [f"`{part.replace('|', '&#124;')}`" for part in parts[1::2]]
    return "".join(parts)
