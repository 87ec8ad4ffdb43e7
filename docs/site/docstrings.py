"""Docstrings of the house as reStructuredText: their tables and symbols are plain text."""

import re
from collections.abc import Iterator

_ROW = re.compile(r"(\S.*?) {2,}(\S.*)$")
_LITERAL = re.compile(r"(``.+?``)")
_SPECIAL = re.compile(r"([*|`\\]|(?<=\w)_(?!\w))")


def as_restructured_text(_app, _what, _name, _object, _options, lines: list[str]) -> None:
    """For Sphinx's autodoc-process-docstring: changes the lines in place."""
    lines[:] = list(_converted(lines))


def _converted(lines: list[str]) -> Iterator[str]:
    in_table = in_examples = False
    before = ""
    for number, line in enumerate(lines):
        following = lines[number + 1] if number + 1 < len(lines) else ""
        in_examples = line.lstrip().startswith((">>>", "...")) or (in_examples and bool(line))
        row = _ROW.fullmatch(line)
        if in_examples or _is_rule(line):
            yield line
        elif row and not _is_prose(row[1]) and (in_table or not before or _told(row[1])):
            if before and not in_table:
                yield ""
            in_table = True
            yield from (f"``{row[1].strip('`')}``", f"    {_escaped(row[2])}")
        elif in_table and line.startswith(" "):
            yield f"    {_escaped(line.strip())}"
        else:
            if in_table and line:
                yield ""
            in_table = False
            yield line if _is_rule(following) else _escaped(line)
        before = line


def _told(name: str) -> bool:
    return bool(re.fullmatch(r"[\w, .\"]+", name))


def _is_prose(start: str) -> bool:
    """Two spaces after a full stop part sentences, not columns."""
    return start.endswith((".", ":", ";", "?")) or len(start) > 40


def _is_rule(line: str) -> bool:
    return bool(re.fullmatch(r"-{3,}", line.strip()))


def _escaped(text: str) -> str:
    """Text in which no symbol is markup, but for what stands between double backticks."""
    parts = _LITERAL.split(text)
    parts[::2] = [_SPECIAL.sub(r"\\\1", part) for part in parts[::2]]
    return "".join(parts)
