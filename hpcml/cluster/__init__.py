"""How programs run on a machine or a cluster; every stage uses it, and it knows none of them."""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
