"""What Psi4 reads and parses anew for every SCF, remembered by the process.

Psi4 goes through the text of each basis set and fitting set once for each atom of each molecule: a
tenth of a second for a molecule of a few atoms, a quarter of all that such a calculation takes.
What a file says of an element is the same each time.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any


def remember_basis_sets(psi4: Any) -> None:
    """Let this process's Psi4 parse each element of each file once; results are the same."""
    parser = psi4.driver.qcdb.libmintsbasissetparser.Gaussian94BasisSetParser
    load, parse = parser.load_file, parser.parse
    files: dict[tuple[str, int, str | None], list[str]] = {}
    kept: set[int] = set()  # ids of these lists, which are never let go
    entries: dict[tuple[int, str, bool, bool], Any] = {}

    def load_once(self: Any, filename: str, basisname: str | None = None) -> list[str]:
        try:
            key = (filename, Path(filename).stat().st_mtime_ns, basisname)
        except OSError:
            return list(load(self, filename, basisname))  # which says what is wrong
        if key not in files:
            files[key] = load(self, filename, basisname)
            kept.add(id(files[key]))
        self.filename = filename
        return files[key]

    def parse_once(self: Any, symbol: str, dataset: Any) -> Any:
        if id(dataset) not in kept:
            return parse(self, symbol, dataset)
        key = (id(dataset), symbol, self.force_puream_or_cartesian, self.forced_is_puream)
        if key not in entries:
            entries[key] = parse(self, symbol, dataset)
        return entries[key]

    parser.load_file, parser.parse = load_once, parse_once
    sets = psi4.driver.qcdb.libmintsbasisset
    sets.corresponding_basis = cache(sets.corresponding_basis)
