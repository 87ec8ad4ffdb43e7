"""PySCF's own OpenBLAS told which processor it runs on, where it does not know.

PySCF's wheels bring OpenBLAS 0.3.3 of 2018.  A processor that is younger it takes for a Prescott
of 2004 (Intel's) or a Barcelona of 2007 (AMD's), and multiplies matrices at a third to two
thirds of the speed that it has with its kernels for AVX2.
OpenBLAS reads ``OPENBLAS_CORETYPE`` when it is loaded, so this file loads it, and is imported
before any other that imports PySCF; numpy's and scipy's OpenBLAS, newer ones, keep their choice.
"""

from __future__ import annotations

import _ctypes
import ctypes
import os
from importlib.util import find_spec
from pathlib import Path

_VARIABLE = "OPENBLAS_CORETYPE"
_WITHOUT_AVX2 = {
    *("Prescott", "Core2", "Penryn", "Dunnington", "Atom", "Nano", "Nehalem", "Sandybridge"),
    *("Athlon", "Opteron", "Opteron_SSE3", "Barcelona", "Bobcat"),
    *("Bulldozer", "Piledriver", "Steamroller"),
}
"""What OpenBLAS calls its kernels for processors before AVX2."""


def _load_pyscf() -> None:
    """Load PySCF, its OpenBLAS with kernels for AVX2 where it would not choose them by itself.

    A choice that stands in the environment is the user's, and stays.
    """
    import scipy.linalg  # noqa: F401  its OpenBLAS shall not see the variable

    free = _VARIABLE not in os.environ and _has_avx2()
    unknown = free and _chosen_kernels() in _WITHOUT_AVX2
    if unknown:
        os.environ[_VARIABLE] = "Haswell"
    try:
        import pyscf.lib  # noqa: F401
    finally:
        if unknown:
            del os.environ[_VARIABLE]


def _has_avx2() -> bool:
    try:
        return " avx2 " in Path("/proc/cpuinfo").read_text()
    except OSError:
        return False  # not Linux: what OpenBLAS chose is left alone


def _chosen_kernels() -> str:
    """The name of the processor that PySCF's OpenBLAS takes this one for; "" where it has none.

    Asked of a copy that is loaded and let go again.
    """
    found = find_spec("pyscf")
    if found is None or found.origin is None:
        return ""
    try:
        library = ctypes.CDLL(str(Path(found.origin).parent / "lib" / "libnp_helper.so"))
    except OSError:
        return ""
    try:
        name = library.openblas_get_corename
        name.restype = ctypes.c_char_p
        return (name() or b"").decode()
    except AttributeError:
        return ""  # another library than OpenBLAS
    finally:
        _ctypes.dlclose(library._handle)


_load_pyscf()
