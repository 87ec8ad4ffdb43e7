"""Molecules computed one after the other for a person who waits, as a campaign computes them.

The engine runs below a keeper (``psi4_process``), so that a crash of it, a hang, or too much memory
is an error like any other and the fallback ladder is walked.  This process stands where a rank does
in a campaign.  Keeper and engine work in a folder of their own, which goes with everything that
they leave behind, and in a session of their own: a terminal's Ctrl-C reaches this process alone,
whose closed pipe ends them.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import FrameType

import msgspec

import hpcml
from hpcml import errors
from hpcml.generation.failures import BUG
from hpcml.generation.protocol import wire
from hpcml.generation.protocol.messages import (
    Answer,
    Answers,
    Compute,
    Error,
    FromKeeper,
    NoPsi4,
    Question,
    Values,
)
from hpcml.generation.protocol.task import Orders
from hpcml.generation.psi4_process.keeper import scratch_prefix, sweep
from hpcml.molecules import Molecule
from hpcml.response import ResponseProperties

CALCULATOR = "psi4"
"""What the engine's process runs (see ``calculators``)."""

_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_SECONDS_TO_END = 20.0
_ADVICE = {
    "convergence": "another geometry, charge or multiplicity, or a larger basis may converge",
    "crash": "try --exact, another basis, or fewer --threads",
    "engine": "try --exact or another basis",
    "hang": "try a smaller basis or more --threads",
    "resources": "give more by --memory, or ask for less",
}


class Foreground:
    """A keeper with its Psi4 process, for as long as the ``with`` lasts."""

    def __init__(self, orders: Orders) -> None:
        self.orders = orders
        self._folder = Path()
        self._signals = ExitStack()
        self._keeper: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Foreground:
        self._signals.enter_context(_interruptible())
        base = Path(os.environ.get("PSI_SCRATCH") or tempfile.gettempdir())
        sweep(base)  # of those that were killed
        try:
            name = f"{scratch_prefix()}{os.getpid()}-"
            self._folder = Path(tempfile.mkdtemp(prefix=name, dir=base))
        except OSError as error:
            self._signals.close()
            raise errors.PlatformError(
                f"{base}: no folder for scratch files can be made there ({error.strerror}); "
                "name another in PSI_SCRATCH"
            ) from error
        return self

    def __exit__(self, *_: object) -> None:
        with self._signals, _deaf():
            if self._keeper is not None and self._keeper.stdin and self._keeper.stdout:
                with suppress(BrokenPipeError):  # it closes with half a question in it
                    self._keeper.stdin.close()
                try:
                    self._keeper.wait(_SECONDS_TO_END)
                except subprocess.TimeoutExpired:
                    self._keeper.kill()
                    self._keeper.wait()
                self._keeper.stdout.close()
            shutil.rmtree(self._folder, ignore_errors=True)

    def compute(self, molecule: Molecule) -> ResponseProperties:
        """The properties of one molecule, after as many tries as a campaign would make.

        Raises the error that a failure's cause stands for, with the molecule's name and what to
        do; an engine that crashed is a PlatformError.
        """
        answer = self._answer(molecule)
        match answer.result:
            case Values(properties=properties):
                assert properties is not None  # asked for
                return ResponseProperties.from_json(properties)
            case Error(cause, message):
                raise self._error(molecule, cause, message, answer.tries)

    def _answer(self, molecule: Molecule) -> Answer:
        if self._keeper is None:
            self._keeper = self._start()
        questions, answers = wire.ends(self._keeper)
        limit = self.orders.site.hang_seconds
        try:
            question = Question(wire.pack_molecule(molecule), limit, whole=True)
            wire.write(questions, Compute([question]))
            said: Answers | NoPsi4 = wire.read(answers, Answers | NoPsi4)
        except (BrokenPipeError, EOFError):
            said = NoPsi4(self._last_line())
        match said:
            case NoPsi4(message):
                self._keeper.wait()
                self._keeper = None
                raise errors.PlatformError(
                    f"{_name(molecule)}: the engine's keeper has ended: {message}"
                )
            case Answers([answer]):
                return answer
        raise AssertionError(f"one answer was asked for, not {said}")

    def _start(self) -> subprocess.Popen[bytes]:
        """Start the keeper and wait until its process has loaded the engine."""
        command = [sys.executable, "-m", "hpcml.generation.psi4_process.keeper"]
        command += ["--orders", msgspec.json.encode(self.orders).decode()]
        command += ["--calculator", CALCULATOR]
        command += ["--scratch", str(self._folder), "--log", str(self._log)]
        given = os.environ.get("PYTHONPATH", "").split(os.pathsep)
        sources = [Path(hpcml.__file__).parents[1], *(Path(path) for path in given if path)]
        with self._log.open("ab") as log:
            keeper = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=self._folder,  # Psi4 writes psi.PID.clean and timer.dat where it works
                env={
                    **os.environ,
                    "PYTHONPATH": os.pathsep.join(str(path.resolve()) for path in sources),
                },
                start_new_session=True,
            )
        self._keeper = keeper
        first: FromKeeper
        try:
            first = wire.read(wire.ends(keeper)[1], FromKeeper)
        except EOFError:
            first = NoPsi4(self._last_line())
        if isinstance(first, NoPsi4):
            keeper.wait()
            self._keeper = None
            raise errors.PlatformError(
                f"the engine does not start: {first.message}; `hpcml doctor` says more"
            )
        return keeper

    @property
    def _log(self) -> Path:
        return self._folder / "engine.log"

    def _last_line(self) -> str:
        lines = self._log.read_text(encoding="utf-8", errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "without a word")

    def _error(self, molecule: Molecule, cause: str, message: str, tries: int) -> errors.HpcmlError:
        kinds = (
            *(errors.SettingsError, errors.InputError, errors.ConvergenceError),
            *(errors.ResourceError, errors.EngineError),
        )
        kind = next((kind for kind in kinds if kind.cause == cause), errors.PlatformError)
        if cause == BUG:
            log = self._log.read_text(encoding="utf-8", errors="replace")
            print(log[max(0, log.rfind("Traceback")) :], file=sys.stderr, end="")
            advice = "this is a bug: please report it with the lines above"
        else:
            advice = _ADVICE.get(cause, "")
        times = f" ({tries} tries)" if tries > 1 else ""
        words = f"{message}{times}" + (f": {advice}" if advice else "")
        named = kind is errors.SettingsError or message.startswith(_name(molecule))
        return kind(words if named else f"{_name(molecule)}: {words}")


def _name(molecule: Molecule) -> str:
    return molecule.name or molecule.formula


@contextmanager
def _interruptible() -> Iterator[None]:
    """Whatever asks this process to end does so as Ctrl-C does."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in _STOPPING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _deaf() -> Iterator[None]:
    """A second Ctrl-C comes when everything is tidied up, or is not needed any more."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in _STOPPING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
