import pathlib

from .interface import OpenedDataset as OpenedDataset
from .interface import compute as compute
from .interface import load_model as load_model
from .interface import reasons_score as reasons_score
from .interface import train as train
from .molecules import Molecule as Molecule
from .relevance.any_model import explain as explain
from .response import Level as Level
from .response import Request as Request
from .store import Dataset as Dataset

__version__: str

def open(path: pathlib.Path | str) -> OpenedDataset: ...
