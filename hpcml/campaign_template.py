"""A campaign file with every setting in it and what each is for, read from the settings themselves.

What a campaign needs stands there as it is used; every other setting is commented out, behind a
``#`` without a blank, with its default.
"""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import msgspec

from hpcml.config import Campaign
from hpcml.setting_docs import Setting, described

_WIDTH = 96
_WRITTEN_BY_US = ("versions",)
_PLAIN = ("text", "number", "whole number", "true or false")
"""Kinds that the default shows."""
_OF_MOLECULES = ("molecules", "level", "properties")
_FIRST = {"method": '"HF"', "basis": '"6-31G(d)"'}
"""What a setting that must be given begins with: quick, and to be replaced."""


def template(name: str, *, molecules: str = "", dataset: str = "", file: Path | None = None) -> str:
    """The text of a campaign file that loads as it is.

    molecules    file of the molecules that are to be computed, seen from the campaign's folder; or
    dataset      a data set that exists already
    file         by which commands the head of the file is told to be run
    """
    given = {"name": _text(name)} | ({"dataset": _text(dataset)} if dataset else {})
    first = {**_FIRST, "source": _text(molecules)}
    settings = [one for one in described(Campaign) if one.name not in _WRITTEN_BY_US]
    if dataset:
        settings = [one for one in settings if one.name not in _OF_MOLECULES]
    lines = [
        f"# hpcml check {file or 'CAMPAIGN.toml'}             all that is wrong with it",
        f"# hpcml run {file or 'CAMPAIGN.toml'} --dry-run     what would be done, and its cost",
        f"# hpcml run {file or 'CAMPAIGN.toml'}",
        "# Settings behind a # have their defaults: take the # away to change one.",
        "",
        *_settings([one for one in settings if not one.tables], given),
    ]
    for table in settings:
        if table.tables:
            lines += ["", *_comment(f"---- {table.text}"), f"[{table.name}]"]
            lines += _settings(described(table.tables[0]), first)
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip() + "\n"


def _settings(settings: list[Setting], given: dict[str, str]) -> Iterator[str]:
    """Settings with one text under it, each with what may stand there."""
    for text, group in groupby(settings, key=lambda one: one.text):
        yield from _comment(text)
        for one in group:
            if one.name in given:
                yield f"{one.name} = {given[one.name]}"
            elif one.default is not None:
                yield from _with_kind(f"#{one.name} = {one.default}", one.kind)
            else:
                yield from _comment(f"  {one.name}: {one.kind}; unset")
        yield ""


def _with_kind(line: str, kind: str) -> list[str]:
    """The setting and, where there is room, what may stand there; else that above it."""
    if kind in _PLAIN:
        return [line]
    whole = f"{line}  # {kind}"
    return [whole] if len(whole) <= _WIDTH else [*_comment(f"  {kind}"), line]


def _comment(text: str) -> list[str]:
    text = text.replace("``", "`")
    return textwrap.wrap(
        text, _WIDTH, initial_indent="# ", subsequent_indent="# ", break_long_words=False,
        break_on_hyphens=False,
    )  # fmt: skip


def _text(value: str) -> str:
    """A TOML string; JSON's is one."""
    return msgspec.json.encode(value).decode() if value.isprintable() else json.dumps(value)
