"""A calculator whose process ends while it starts, once for each letter in a file."""

import os
from pathlib import Path

from faulty import compute

starts = Path(os.environ["FAULTY_STARTS"])
if left := starts.read_text():
    starts.write_text(left[1:])
    os._exit(3)

__all__ = ["compute"]
