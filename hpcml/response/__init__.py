"""The physics: response properties of one molecule.  ``compute`` is the front door."""

from hpcml.response.compute import compute
from hpcml.response.level import Level, Request
from hpcml.response.properties import Hyperpolarizability, Polarizability, ResponseProperties

__all__ = [
    "Hyperpolarizability",
    "Level",
    "Polarizability",
    "Request",
    "ResponseProperties",
    "compute",
]
