"""What each atom was worth to a prediction, and a ledger of everything else.

Names are imported when they are asked for: reading relevances needs no torch.
"""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
