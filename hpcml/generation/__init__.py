"""The stage generate: what is missing, where it runs, and an MPI program that computes it.

The names are loaded when they are first used: the programs of this room start on every core of a
machine and import only what they need.
"""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
