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

Short molecules come several at a time and go to the process in one message.  Each has its own
limit and its own tries: who ended the process is known by its ``pulse`` and is tried again alone,
and those whose results went down with it are computed once more, which counts as no try.

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
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import msgspec

from hpcml.cluster.stop_signals import STOP_SIGNALS
from hpcml.generation.protocol import wire
from hpcml.generation.protocol.messages import (
    Answers,
    Compute,
    Error,
    FromKeeper,
    FromPsi4,
    NoPsi4,
    Pin,
    Question,
    Ready,
    SendLetter,
    ToKeeper,
    Tries,
    TriesEnded,
    Try,
    TryEnded,
    WantLetter,
)
from hpcml.generation.protocol.pulse import Pulse
from hpcml.generation.protocol.task import Orders
from hpcml.generation.psi4_process.molecule_tries import MoleculeTries

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
        self.asked = self.answered = 0
        self.began = self.ready = self.asked_at = time.monotonic()
        self.log = log
        # Mode 0700; named after the keeper, so that a later one can tell it is nobody's.
        self.scratch = Path(
            tempfile.mkdtemp(prefix=f"{scratch_prefix()}{os.getpid()}-", dir=scratch)
        )
        threads = str(orders.site.threads)
        command = [sys.executable, "-m", "hpcml.generation.psi4_process.process"]
        command += ["--orders", msgspec.json.encode(orders).decode()]
        command += ["--calculator", calculator, "--scratch", str(self.scratch)]
        self.output = self.scratch / "output"
        self._kept = 0
        with self.output.open("wb") as output, tempfile.TemporaryFile(dir=self.scratch) as page:
            page.truncate(Pulse.BYTES)
            self.pulse = Pulse(page.fileno())
            command += ["--pulse", str(page.fileno())]
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                pass_fds=[page.fileno()],
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

    def ask(self, tries: list[Try]) -> None:
        """Let it compute these; BrokenPipeError if it has ended."""
        self.asked_at = time.monotonic()
        self.asked += len(tries)
        wire.write(self.questions, Tries(tries))

    def at_work(self, unanswered: int) -> tuple[int, float]:
        """Which of the unanswered it computes, from 0, and for how many seconds already."""
        begun, since = self.pulse.seen()
        first = max(0, self.asked - unanswered)  # while it starts, nothing has been asked
        if begun <= first:
            return 0, time.monotonic() - self.asked_at
        return begun - 1 - first, time.monotonic() - since

    def resident_mb(self) -> float:
        """Memory that the process holds now, in MB; 0 where the kernel does not tell."""
        try:
            pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        except (OSError, IndexError):
            return 0.0
        return int(pages) * _PAGE / 1e6

    def last_words(self) -> str:
        """The last line that the process printed, for the failure's message."""
        with self.output.open("rb") as stream:
            stream.seek(max(0, self.output.stat().st_size - 2000))
            lines = [line.strip() for line in stream.read().decode(errors="replace").splitlines()]
        return next((line for line in reversed(lines) if line), "")

    def keep_output(self) -> None:
        """Append what the process has printed since then to the log, which all keepers of this
        node share, and which is not made before there is something to be kept."""
        if self.output.stat().st_size > self._kept:
            with self.output.open("rb") as output, self.log.open("ab") as log:
                output.seek(self._kept)
                log.write(output.read())
                self._kept = output.tell()

    def end(self) -> int:
        """End the process whatever it does, empty its scratch, and return its exit status."""
        self.process.kill()
        status = self.process.wait()
        with suppress(OSError):  # a full disk, or a scratch folder that somebody has emptied
            self.keep_output()
        self.pulse.close()
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
    """Answers the rank's questions in their order, with whatever Psi4 processes that takes."""

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
                    case Compute(questions):
                        self._compute(questions)
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
            outcome = self._await(self.psi4_process, [_SECONDS_TO_START])
            if isinstance(outcome, Ready):
                self.psi4_process.ready = time.monotonic()
                break
            assert isinstance(outcome, _Broken)
            words = outcome.error.message
            self._drop_process()
        if self.psi4_process is None:
            raise NoPsi4ProcessError(f"the Psi4 process does not start: {words}")
        return self.psi4_process

    def _drop_process(self) -> None:
        if self.psi4_process is not None:
            self.psi4_process.end()
            self.psi4_process = None

    def _compute(self, questions: Sequence[Question]) -> None:
        """Try each until one try ends well, or all are used up; answer in their order."""
        left = deque(MoleculeTries(question, self.orders.site.tries) for question in questions)
        while left:
            for _ in self._try(left[0].to_be_tried_with(left)):
                known = []
                while left and (answer := left[0].answer) is not None:
                    known.append(answer)
                    left.popleft()
                if known:
                    self._reply(Answers(known))

    def _try(self, group: Sequence[MoleculeTries]) -> Iterator[None]:
        """One try of each, in one go, told to them as it ends, and a step for each word of it.

        Where the process ends, that is told to the molecule which it was computing; others
        that it has said nothing of have not been tried.
        """
        psi4_process = self._ready_process()
        start = time.time()
        told = 0
        with suppress(BrokenPipeError):  # which is seen at once
            psi4_process.ask([molecule.next_try() for molecule in group])
        while told < len(group):
            limits = [molecule.question.limit for molecule in group[told:]]
            outcome = self._await(
                psi4_process, limits, relaying=group[0].question.member is not None
            )
            if isinstance(outcome, TriesEnded):
                psi4_process.answered += len(outcome.ended)
                with suppress(OSError):
                    psi4_process.keep_output()
                for ended in outcome.ended:
                    group[told].tried(ended)
                    told += 1
                yield
                continue
            assert isinstance(outcome, _Broken)
            self._drop_process()
            now = time.time()
            lost = TryEnded(outcome.error, wire.NOTHING, max(start, now - outcome.seconds), now)
            group[told + outcome.place].tried(lost)
            yield
            return

    def _await(
        self, psi4_process: Psi4Process, limits: Sequence[float], *, relaying: bool = False
    ) -> Ready | TriesEnded | _Broken:
        """What the process says next, or why it says nothing more.

        limits     seconds that each of what it has not answered may take
        relaying   letters may pass meanwhile; else what the rank says is left for later
        """
        while True:
            inboxes = (psi4_process.inbox, self.rank) if relaying else (psi4_process.inbox,)
            wire.wait(inboxes, _SECONDS_BETWEEN_LOOKS)
            try:
                message = psi4_process.inbox.poll()
            except EOFError:
                error = _crash(psi4_process)
                return _Broken(error, *psi4_process.at_work(len(limits)))
            match message:
                case SendLetter() | WantLetter():
                    self._reply(message)
                    continue
                case Ready() | TriesEnded():
                    return message
            if relaying and (letter := self._from_rank(0.0)) is not None:
                wire.write(psi4_process.questions, letter)  # it waits for it
            elif self.rank.closed():
                raise RankIsGoneError
            place, seconds = psi4_process.at_work(len(limits))
            if seconds > limits[place]:
                words = f"no result within {limits[place]:.0f} s: the process was ended"
                return _Broken(Error("hang", words), place, seconds)
            held = psi4_process.resident_mb()
            if held > self.orders.process_mb:
                words = (
                    f"the process held {held:.0f} MB: with rank and keeper over the site's "
                    f"memory_mb = {self.orders.site.memory_mb}"
                )
                return _Broken(Error("resources", words), place, seconds)


class _Broken(NamedTuple):
    """Why a process says nothing more, which of those it has not answered it computed then, from
    0, and for how many seconds."""

    error: Error
    place: int
    seconds: float


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
