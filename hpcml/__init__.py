"""hpcml: response properties of many molecules, and networks asked for their reasons.

>>> import hpcml
>>> data = hpcml.open("jobs/study/small")
>>> len(data[:2])
2
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from pathlib import Path

    from hpcml.interface import OpenedDataset

__version__ = "0.2.0.dev0"

# loaded when asked for: `import hpcml` stays quick, and needs nothing that is not used
__getattr__, _, __all__ = lazy_loader.attach_stub(__name__, __file__)
__all__ += ["__version__", "open"]


def __dir__() -> list[str]:
    return sorted(__all__)


def open(path: Path | str) -> OpenedDataset:
    """The data set in a folder; nothing is read but its manifest."""
    from hpcml.interface import OpenedDataset

    return OpenedDataset.open(path)
