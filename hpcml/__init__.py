"""hpcml: response properties of many molecules, and networks asked for their reasons.

>>> import hpcml
>>> data = hpcml.open("runs/quickstart/dataset")  # doctest: +SKIP
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from hpcml.molecules import Molecule
    from hpcml.response import Level, Request, compute
    from hpcml.store import Dataset

__version__ = "0.1.0"

_HOME = {
    "Dataset": "store",
    "Level": "response",
    "Molecule": "molecules",
    "Request": "response",
    "compute": "response",
}


def open(path: Path | str) -> Dataset:
    """The data set in a folder; nothing is read but its manifest."""
    from hpcml.store import Dataset

    return Dataset.open(path)


def __getattr__(name: str) -> Any:
    # loaded when asked for: `import hpcml` stays quick, and needs nothing that is not used
    if name in _HOME:
        return getattr(import_module(f"hpcml.{_HOME[name]}"), name)
    raise AttributeError(f"module 'hpcml' has no attribute {name!r}")


__all__ = ["Dataset", "Level", "Molecule", "Request", "__version__", "compute", "open"]
