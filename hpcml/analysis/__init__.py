"""Does a network predict for the right reasons? Tables and scores from relevances.

Names are imported when they are asked for: settings are read without RDKit.
"""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
