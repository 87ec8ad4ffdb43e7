import pathlib

from .molecules import Molecule as Molecule
from .relevance.any_model import explain as explain
from .response import Level as Level
from .response import Request as Request
from .response import compute as compute
from .store import Dataset as Dataset

__version__: str

def open(path: pathlib.Path | str) -> Dataset: ...
