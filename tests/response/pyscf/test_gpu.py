"""GPU4PySCF by stand-ins: refused without it or a GPU; with both its SCF is taken."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from pyscf.df import df_jk

from hpcml.errors import PlatformError
from hpcml.molecules.molecule import Molecule
from hpcml.response import Level, Request, compute
from hpcml.response.engine import engine

WATER = Molecule([8, 1, 1], [[0.05, 0.02, -0.06], [0.1, 0.76, 0.55], [-0.07, -0.72, 0.6]])
LEVEL = Level(method="HF", basis="STO-3G", engine="gpu4pyscf")


def _install(monkeypatch: pytest.MonkeyPatch, devices) -> None:
    cupy, gpu4pyscf = ModuleType("cupy"), ModuleType("gpu4pyscf")
    cupy.cuda = SimpleNamespace(runtime=SimpleNamespace(getDeviceCount=devices))
    gpu4pyscf.__version__ = "1.4"
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    monkeypatch.setitem(sys.modules, "gpu4pyscf", gpu4pyscf)


def _driver_missing() -> int:
    raise RuntimeError("cudaErrorNoDevice: no CUDA-capable device is detected\nmore")


@pytest.mark.parametrize(
    ("devices", "told"),
    [(None, "cannot be imported"), (_driver_missing, "no CUDA-capable"), (lambda: 0, "none is")],
    ids=["not installed", "no driver", "no device"],
)
def test_what_is_missing_is_told_in_one_line(devices, told, monkeypatch) -> None:
    if devices is None:
        monkeypatch.setitem(sys.modules, "gpu4pyscf", None)
    else:
        _install(monkeypatch, devices)
    for ask in (
        engine("gpu4pyscf").prepare,
        lambda: engine("gpu4pyscf").find_faults(LEVEL, (1, 8)),
        lambda: compute(WATER, LEVEL, Request(properties=("dipole",))),
    ):
        with pytest.raises(PlatformError, match=told) as caught:
            ask()
        assert "\n" not in str(caught.value)
        assert 'engine = "pyscf"' in str(caught.value)


class _OnGPU:
    """What the documentation says of a field on the GPU: members by the same names."""

    def __init__(self, field) -> None:
        self.__dict__["field"] = field

    def __getattr__(self, name):
        return getattr(self.__dict__["field"], name)

    def __setattr__(self, name, value) -> None:
        setattr(self.__dict__["field"], name, value)

    def to_cpu(self):
        return self.__dict__["field"]


def test_the_scf_of_the_gpu_is_taken(monkeypatch) -> None:
    _install(monkeypatch, lambda: 1)
    there = []

    def to_gpu(field):
        there.append(field)
        return _OnGPU(field)

    monkeypatch.setattr(df_jk._DFHF, "to_gpu", to_gpu)
    found = compute(WATER, LEVEL, Request())
    expected = compute(WATER, Level(method="HF", basis="STO-3G", engine="pyscf"), Request())
    assert len(there) == 1
    assert found.provenance["scf_on"] == "GPU, GPU4PySCF 1.4"
    assert "scf_on" not in expected.provenance
    np.testing.assert_allclose(
        found.hyperpolarizability[0].tensor, expected.hyperpolarizability[0].tensor, atol=1e-6
    )
    compute(WATER, LEVEL, Request(), attempt=1)
    assert len(there) == 1  # the fallbacks are PySCF's
