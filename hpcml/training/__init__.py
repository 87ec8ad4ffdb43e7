"""Training: networks learn from a data set, on any number of ranks, the same way.

Names that need torch are imported when they are asked for: reading settings needs none.
"""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
