"""Text files as people's programs write them: with or without a mark of their encoding."""

from __future__ import annotations

import codecs
from pathlib import Path
from typing import TextIO

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_LOOKED_AT = 1 << 16  # bytes


def open_text(path: Path, newline: str | None = None) -> TextIO:
    """Open a text file in UTF-8, or in the encoding that its first bytes show.

    Those of Windows begin with a mark (Notepad, Excel, PowerShell), and UTF-16 without one shows
    by a zero in every other byte.  What is no UTF-8 is taken for the encoding of older Windows;
    what is no text comes as replacement characters.
    """
    with path.open("rb") as file:
        start = file.read(_LOOKED_AT)
    encoding = next((name for mark, name in _MARKS if start.startswith(mark)), "")
    if not encoding:
        zeros = [start[offset::2].count(0) > 0.9 * len(start) / 2 for offset in (0, 1)]
        encoding = {(True, False): "utf-16-be", (False, True): "utf-16-le"}.get(
            (zeros[0], zeros[1]), "utf-8"
        )
    if encoding == "utf-8":
        try:
            codecs.getincrementaldecoder("utf-8")().decode(start)
        except UnicodeDecodeError:
            encoding = "cp1252"
    return path.open(encoding=encoding, errors="replace", newline=newline)
