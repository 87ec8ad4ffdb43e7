"""Calculators that go wrong in every way a calculation can, by the molecule's name."""

import os
import signal
import time
from pathlib import Path

from hpcml.campaign.calculators import none
from hpcml.errors import ConvergenceError, InputError, SettingsError


def compute(molecule, level, request, resources):
    """Zeros, unless the name begins with a fault."""
    fault, _, detail = molecule.name.partition("-")
    if fault == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif fault == "hang":
        time.sleep(3600)
    elif fault == "hungry":
        held = bytearray(os.urandom(1 << 20) * 1500)
        time.sleep(3600)
        del held
    elif fault == "stubborn" and resources.attempt < int(detail):
        raise ConvergenceError("the SCF did not converge", 1e-3)
    elif fault == "wrong":
        raise InputError("element Xx has no basis functions")
    elif fault == "misspelt":
        raise SettingsError("no method is called HFF")
    elif fault == "bug":
        raise KeyError("a bug")
    elif fault == "deadly":
        keeper = os.getppid()
        rank = int(Path(f"/proc/{keeper}/stat").read_text().rpartition(")")[2].split()[1])
        os.kill(rank, signal.SIGKILL)
        time.sleep(3600)
    elif fault == "slow":
        time.sleep(float(detail))
    return none(molecule, level, request, resources)
