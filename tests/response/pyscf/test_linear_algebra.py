"""PySCF's OpenBLAS runs the kernels of this processor, and nothing else is changed for it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

_WITH_AVX2 = {"Haswell", "Zen", "Excavator", "SkylakeX", "Cooperlake", "SapphireRapids"}
"""What OpenBLAS calls its kernels for processors with AVX2."""

_SAYS = """
import os, ctypes
import hpcml.response.pyscf
from pyscf.lib import misc
name = ctypes.CDLL(misc.__file__.replace("misc.py", "libnp_helper.so")).openblas_get_corename
name.restype = ctypes.c_char_p
print(name().decode(), os.environ.get("OPENBLAS_CORETYPE"))
"""


def _says(**variables: str) -> list[str]:
    inherited = {name: word for name, word in os.environ.items() if name != "OPENBLAS_CORETYPE"}
    done = subprocess.run(
        [sys.executable, "-c", _SAYS],
        env=inherited | variables,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


def _has_avx2() -> bool:
    return " avx2 " in Path("/proc/cpuinfo").read_text()


@pytest.mark.skipif(not _has_avx2(), reason="the processor has no AVX2")
def test_an_unknown_processor_gets_the_kernels_for_avx2() -> None:
    kernels, variable = _says()
    assert kernels in _WITH_AVX2
    assert variable == "None"


def test_a_choice_in_the_environment_stays() -> None:
    assert _says(OPENBLAS_CORETYPE="Nehalem") == ["Nehalem", "Nehalem"]
