"""What a rank does to its process."""

from __future__ import annotations

import os
import subprocess
import sys

CODE = """
import resource
from hpcml.cluster.mpi_program import keep_freed_memory
{call}
for step in range(20):
    if step == 10:
        begun = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    blocks = [b"1" * (8_000_000 + number) for number in range(8)]
    del blocks
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - begun)
"""


def page_faults(call: str) -> int:
    """Of ten rounds of taking and freeing eight times 8 MB, 15,600 pages, after ten others."""
    words = [sys.executable, "-c", CODE.format(call=call)]
    hands_back = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "1000000"}  # every large block
    ended = subprocess.run(words, env=hands_back, capture_output=True, text=True, check=True)
    return int(ended.stdout)


def test_freed_memory_is_used_again_without_the_system() -> None:
    assert page_faults("") > 50_000
    assert page_faults("keep_freed_memory()") < 5_000
