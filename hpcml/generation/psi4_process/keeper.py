"""The keeper: starts a rank's Psi4 process, feeds it, and starts it again when it ends badly.

It is itself a process of its own, started by the rank *before* MPI, because starting a process
after MPI_Init is unsafe on some networks.  It knows nothing of MPI or of Psi4.

``messages.ToKeeper`` come in, ``messages.FromKeeper`` go out.

A try can end in an error that another algorithm may mend (causes ``convergence``, ``engine``), in
the end of the process (``crash``), in no answer within the limit (``hang``) or in too much memory
(``resources``).  After each the molecule is tried again on the next rung of the ladder of
fallbacks; a process that was ended by a signal, once, on the same rung, as the signal may have
come from elsewhere.  After the site's ``tries`` it is given up.  Errors of input or settings are
not tried again.  Where several ranks compute a molecule together, all of them try again, or none:
the question then names the one rung that is wanted, and letters pass meanwhile (``letters``).

A Psi4 process that ends while it starts gets one more start; then the keeper says so and leaves.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import msgspec

from hpcml.cluster.stop_signals import STOP_SIGNALS
from hpcml.generation.protocol import wire
from hpcml.generation.protocol.messages import (
    Answer,
    Compute,
    Error,
    FromKeeper,
    FromPsi4,
    NoPsi4,
    Pin,
    Ready,
    SendLetter,
    ToKeeper,
    Try,
    TryEnded,
    WantLetter,
)
from hpcml.generation.protocol.task import TRIED_AGAIN, Orders

_SECONDS_TO_START = 300.0  # importing Psi4 from a cold parallel file system takes minutes
_STARTS = 2
_LIVES_TO_A_START = 100.0  # seconds that a process works for each second that its start took
_SECONDS_BETWEEN_LOOKS = 0.25
_PAGE = os.sysconf("SC_PAGE_SIZE")


class NoPsi4ProcessError(Exception):
    """A Psi4 process ended while it started, and so did the one after it."""


class RankIsGoneError(Exception):
    """The rank closed its end of the pipe."""


class Psi4Process:
    """One life of a Psi4 process and its scratch folder."""

    def __init__(self, orders: Orders, calculator: str, scratch: Path, log: Path) -> None:
        self.answered = 0
        self.began = self.ready = time.monotonic()
        self.log = log
        # Mode 0700; named after the keeper, so that a later one can tell it is nobody's.
        self.scratch = Path(
            tempfile.mkdtemp(prefix=f"{scratch_prefix()}{os.getpid()}-", dir=scratch)
        )
        threads = str(orders.site.threads)
        command = [sys.executable, "-m", "hpcml.generation.psi4_process.process"]
        command += ["--orders", msgspec.json.encode(orders).decode()]
        command += ["--calculator", calculator, "--scratch", str(self.scratch)]
        with log.open("ab") as output:
            self.log_start = output.tell()
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                env={
                    **os.environ,
                    "OMP_NUM_THREADS": threads,
                    "MKL_NUM_THREADS": threads,
                    "PSI_SCRATCH": str(self.scratch),
                    "TMPDIR": str(self.scratch),  # what is made there goes with it
                },
            )
        self.questions, answers = wire.ends(self.process)
        self.inbox: wire.Inbox[FromPsi4] = wire.Inbox(answers.fileno(), FromPsi4)

    def resident_mb(self) -> float:
        """Memory that the process holds now, in MB; 0 where the kernel does not tell."""
        try:
            pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        except (OSError, IndexError):
            return 0.0
        return int(pages) * _PAGE / 1e6

    def last_words(self) -> str:
        """The last line that the process wrote to its log, for the failure's message."""
        with self.log.open("rb") as stream:
            stream.seek(max(self.log_start, self.log.stat().st_size - 2000))
            lines = [line.strip() for line in stream.read().decode(errors="replace").splitlines()]
        return next((line for line in reversed(lines) if line), "")

    def end(self) -> int:
        """End the process whatever it does, empty its scratch, and return its exit status."""
        self.process.kill()
        status = self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                # Closing flushes, and the flush of a half-sent question meets a closed pipe.
                try:
                    stream.close()
                except BrokenPipeError:
                    continue
        shutil.rmtree(self.scratch, ignore_errors=True)
        # Psi4 lists its scratch files in the working folder, and a killed process leaves it.
        Path(f"psi.{self.process.pid}.clean").unlink(missing_ok=True)
        return status


def scratch_prefix() -> str:
    """How scratch folders of this host begin; the process id of their owner follows."""
    return f"hpcml-{socket.gethostname()}-"


def sweep(scratch: Path) -> None:
    """Remove scratch folders of this host whose keepers were killed."""
    prefix = scratch_prefix()
    for folder in scratch.glob(f"{prefix}*"):
        keeper = folder.name.removeprefix(prefix).partition("-")[0]
        if keeper.isdigit() and not Path(f"/proc/{keeper}").exists():
            shutil.rmtree(folder, ignore_errors=True)


class Keeper:
    """Answers the rank's questions, one at a time, with whatever Psi4 processes that takes."""

    def __init__(self, orders: Orders, calculator: str, scratch: Path, log: Path) -> None:
        self.orders = orders
        self.calculator = calculator
        self.scratch = scratch
        self.log = log
        self.rank: wire.Inbox[ToKeeper] = wire.Inbox(0, ToKeeper)
        self.replies = os.fdopen(os.dup(1), "wb")
        self.psi4_process: Psi4Process | None = None
        os.dup2(2, 1)

    def serve(self) -> None:
        """Answer until the rank closes its end of the pipe, or no Psi4 process can be started."""
        try:
            sweep(self.scratch)
            self._ready_process()
            self._reply(Ready(os.getpid()))
            while True:
                match self._from_rank(None):
                    case Pin(cpus):  # affinity is inherited by processes started from now on
                        self._pin(cpus)
                    case Compute() as question:
                        self._reply(self._compute(question))
                        if self.psi4_process and self._has_done_its_share(self.psi4_process):
                            self._drop_process()
                        self._ready_process()  # while the rank fetches the next molecule
                    case _:  # a letter, too late: the process that waited for it was ended
                        continue
        except NoPsi4ProcessError as error:
            with suppress(RankIsGoneError):
                self._reply(NoPsi4(str(error)))
        except RankIsGoneError:
            return
        finally:
            self._drop_process()

    def _has_done_its_share(self, psi4_process: Psi4Process) -> bool:
        """Whether a fresh one is due: starting it costs little beside what this one has done."""
        if psi4_process.answered < self.orders.site.molecules_per_process:
            return False
        worked = time.monotonic() - psi4_process.ready
        began = psi4_process.ready - psi4_process.began
        return worked > _LIVES_TO_A_START * began or (
            psi4_process.resident_mb() > 0.5 * self.orders.process_mb
        )

    def _from_rank(self, seconds: float | None) -> ToKeeper | None:
        while True:
            try:
                message = self.rank.poll(3600.0 if seconds is None else seconds)
            except EOFError:
                raise RankIsGoneError from None
            if message is not None or seconds is not None:
                return message

    def _reply(self, message: FromKeeper) -> None:
        try:
            wire.write(self.replies, message)
        except BrokenPipeError:
            raise RankIsGoneError from None

    def _pin(self, cpus: list[int]) -> None:
        os.sched_setaffinity(0, cpus)
        if self.psi4_process is not None:
            for thread in Path(f"/proc/{self.psi4_process.process.pid}/task").iterdir():
                os.sched_setaffinity(int(thread.name), cpus)

    def _ready_process(self) -> Psi4Process:
        words = ""
        for _ in range(_STARTS if self.psi4_process is None else 0):
            self.psi4_process = Psi4Process(self.orders, self.calculator, self.scratch, self.log)
            outcome = self._await(self.psi4_process, _SECONDS_TO_START)
            if isinstance(outcome, Ready):
                self.psi4_process.ready = time.monotonic()
                break
            assert isinstance(outcome, Error)
            words = outcome.message
            self._drop_process()
        if self.psi4_process is None:
            raise NoPsi4ProcessError(f"the Psi4 process does not start: {words}")
        return self.psi4_process

    def _drop_process(self) -> None:
        if self.psi4_process is not None:
            self.psi4_process.end()
            self.psi4_process = None

    def _compute(self, question: Compute) -> Answer:
        """Try until one try ends well, or all are used up."""
        tries = 1 if question.member is not None else self.orders.site.tries
        rung = question.rung
        busy = first = 0.0
        repeated = False
        done = 0
        while True:
            done += 1
            ended = self._try(question, rung)
            busy += ended.end - ended.start
            first = first or ended.start
            error = ended.error
            if error is None or error.cause not in TRIED_AGAIN or done == tries:
                return Answer(error, ended.values, done, first, ended.end, busy)
            repeated = error.by_signal and not repeated
            rung += not repeated

    def _try(self, question: Compute, rung: int) -> TryEnded:
        psi4_process = self._ready_process()
        start = time.time()
        try:
            wire.write(
                psi4_process.questions,
                Try(question.molecule, rung, question.member, question.whole),
            )
            outcome = self._await(
                psi4_process, question.limit, relaying=question.member is not None
            )
        except BrokenPipeError:
            outcome = _crash(psi4_process)
        if isinstance(outcome, TryEnded):
            psi4_process.answered += 1
            return outcome
        assert isinstance(outcome, Error)
        self._drop_process()
        return TryEnded(outcome, wire.NOTHING, start, time.time())

    def _await(
        self, psi4_process: Psi4Process, limit: float, *, relaying: bool = False
    ) -> Ready | TryEnded | Error:
        """What the process says in the end, or why it says nothing.

        relaying   letters may pass meanwhile; else what the rank says is left for later
        """
        began = time.monotonic()
        while True:
            inboxes = (psi4_process.inbox, self.rank) if relaying else (psi4_process.inbox,)
            wire.wait(inboxes, _SECONDS_BETWEEN_LOOKS)
            try:
                message = psi4_process.inbox.poll()
            except EOFError:
                return _crash(psi4_process)
            match message:
                case SendLetter() | WantLetter():
                    self._reply(message)
                    continue
                case Ready() | TryEnded():
                    return message
            if relaying and (letter := self._from_rank(0.0)) is not None:
                wire.write(psi4_process.questions, letter)  # it waits for it
            elif self.rank.closed():
                raise RankIsGoneError
            if time.monotonic() - began > limit:
                words = f"no result within {limit:.0f} s: the process was ended"
                return Error("hang", words)
            held = psi4_process.resident_mb()
            if held > self.orders.process_mb:
                return Error(
                    "resources",
                    f"the process held {held:.0f} MB: with rank and keeper over the site's "
                    f"memory_mb = {self.orders.site.memory_mb}",
                )


def _crash(psi4_process: Psi4Process) -> Error:
    status = psi4_process.process.wait()
    by_signal = status < 0
    how = f"signal {signal.Signals(-status).name}" if by_signal else f"exit status {status}"
    words = f"the Psi4 process ended by {how}: {psi4_process.last_words()}".rstrip(": ")
    return Error("crash", words, by_signal)


def main() -> None:
    """Run as ``python -m hpcml.generation.psi4_process.keeper``, by a rank."""
    # It outlives its rank for a moment, in which it ends Psi4 and empties the scratch folder.
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)  # the rank decides; its closed pipe is the order
    parser = argparse.ArgumentParser(prog="hpcml.generation.psi4_process.keeper")
    parser.add_argument("--orders", required=True, help="the task's orders as JSON text")
    parser.add_argument("--calculator", required=True)
    parser.add_argument("--scratch", required=True, type=Path)
    parser.add_argument("--log", required=True, type=Path)
    arguments = parser.parse_args()
    orders = msgspec.json.decode(arguments.orders, type=Orders)
    Keeper(orders, arguments.calculator, arguments.scratch, arguments.log).serve()


if __name__ == "__main__":
    main()
