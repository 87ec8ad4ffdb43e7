"""What a notebook asks for in one line: molecules computed, networks trained and explained.

The rooms do the work; here their results get names, units and tables.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
