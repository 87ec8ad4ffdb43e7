"""Calculators that go wrong in every way a calculation can, by the molecule's name."""

import os
import resource
import signal
import time
from pathlib import Path

from hpcml.campaign.calculators import none
from hpcml.errors import ConvergenceError, InputError, SettingsError


def rank():
    """The process of the rank: the parent of the keeper, which is ours."""
    stat = Path(f"/proc/{os.getppid()}/stat").read_text()
    return int(stat.rpartition(")")[2].split()[1])


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
        os.kill(rank(), signal.SIGKILL)
        time.sleep(3600)
    elif fault == "full":  # from now on no file of the rank can grow beyond a kilobyte
        resource.prlimit(rank(), resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
    elif fault == "slow":
        time.sleep(float(detail))
    return none(molecule, level, request, resources)
