"""Calculators that go wrong in every way a calculation can, by the molecule's name."""

import os
import resource
import signal
import time
from dataclasses import replace
from pathlib import Path

from hpcml.errors import ConvergenceError, InputError, SettingsError
from hpcml.generation.psi4_process.calculators import none


def rank():
    """The process of the rank: the parent of the keeper, which is ours."""
    return parent(os.getppid())


def parent(process):
    """The parent of a process."""
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


def fill_the_disk():
    """From now on no file of any rank can grow beyond a kilobyte."""
    mpiexec = parent(rank())
    for word in Path(f"/proc/{mpiexec}/task/{mpiexec}/children").read_text().split():
        resource.prlimit(int(word), resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))


def once(molecule, resources):
    """Whether this fault happens for the first time; known to all processes of a campaign."""
    mark = Path(resources.scratch).parent / f"{molecule.name}.happened"
    happened = mark.exists()
    mark.touch()
    return not happened


def compute(molecule, level, request, resources):
    """Zeros, unless the name begins with a fault."""
    fault, _, detail = molecule.name.partition("-")
    if fault == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif fault == "killed" and once(molecule, resources):
        os.kill(os.getpid(), signal.SIGKILL)
    elif fault == "killed":
        zeros = none(molecule, level, request, resources)
        return replace(zeros, provenance={**zeros.provenance, "rung": resources.attempt})
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
    elif fault == "full":
        fill_the_disk()
    elif fault == "slow":
        time.sleep(float(detail))
    return none(molecule, level, request, resources)


def shared(molecule, level, request, resources):
    """Zeros, from ranks that pass numbers round for a while; a name can make one member fail.

    names: together-SECONDS, then perhaps -FAULT-MEMBER (its first try fails so), e.g.
    "together-1-crash-1"
    """
    group = resources.communicator
    assert (group is None) == molecule.name.startswith("alone")
    if group is None:
        return none(molecule, level, request, resources)
    _, seconds, *fault = molecule.name.split("-")
    end = time.monotonic() + float(seconds)
    turn = 0
    while group.bcast(turn < 5 or time.monotonic() < end):
        seen = group.gather((group.rank, turn))
        assert group.rank > 0 or seen == [(rank, turn) for rank in range(group.size)]
        turn += 1
        time.sleep(0.02)
        if fault and int(fault[1]) == group.rank and resources.attempt == 0 and turn == 3:
            if fault[0] == "stubborn":
                raise ConvergenceError("the SCF did not converge", 1e-3)
            if fault[0] == "hang":
                time.sleep(3600)
            if once(molecule, resources):
                os.kill(os.getpid(), signal.SIGKILL)
    return none(molecule, level, request, resources)
