"""The keeper: starts a rank's Psi4 process, feeds it, and starts it again when it ends badly.

It is itself a process of its own, started by the rank *before* MPI, because starting a process
after MPI_Init is unsafe on some networks.  It knows nothing of MPI or of Psi4.

    from the rank   {"key", "molecule": bytes, "limit": seconds, "group": [member, size, attempt],
                    "whole": whether the answer shall hold "properties", as ``to_json`` has them}
    to the rank     {"key", "tries", "start", "end", "busy", "values", "provenance"}
                    {"key", "tries", "start", "end", "busy", "cause", "message"}

A try can end in an error that another algorithm may mend (cause ``convergence``), in the end of
the process (``crash``), in no answer within the limit (``hang``) or in too much memory
(``resources``).  After each the molecule is tried again on the next rung of the fallback ladder;
after ``tries`` tries it is given up.  Errors of input or settings are not tried again.  Where
several ranks compute a molecule together, all of them try again, or none: the question then names
the one attempt that is wanted, and letters pass between process and rank meanwhile (``relay``).
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
from pathlib import Path
from typing import Any

import msgspec

from hpcml.cluster.processes import die_with_parent
from hpcml.generation.protocol import wire
from hpcml.generation.protocol.task import TRIED_AGAIN, Orders

_SECONDS_TO_START = 300.0  # importing Psi4 from a cold parallel file system takes minutes
_SECONDS_BETWEEN_LOOKS = 0.25
_PAGE = os.sysconf("SC_PAGE_SIZE")


class RankIsGoneError(Exception):
    """The rank closed its end of the pipe."""


class Worker:
    """One life of a Psi4 process and its scratch folder."""

    def __init__(self, orders: Orders, calculator: str, scratch: Path, log: Path) -> None:
        self.orders = orders
        self.answered = 0
        self.log = log
        # Mode 0700; named after the keeper, so that a later one can tell it is nobody's.
        self.scratch = Path(
            tempfile.mkdtemp(prefix=f"{scratch_prefix()}{os.getpid()}-", dir=scratch)
        )
        threads = str(orders.threads)
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
                    "TMPDIR": str(self.scratch),  # a killed process leaves what it made there
                },
            )
        self.questions, answers = wire.ends(self.process)
        self.inbox = wire.Inbox(answers.fileno())

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
    """Answers the rank's questions, one at a time, with whatever workers that takes."""

    def __init__(self, orders: Orders, calculator: str, scratch: Path, log: Path) -> None:
        self.orders = orders
        self.calculator = calculator
        self.scratch = scratch
        self.log = log
        self.rank = wire.Inbox(0)
        self.replies = os.fdopen(os.dup(1), "wb")
        self.worker: Worker | None = None
        os.dup2(2, 1)

    def serve(self) -> None:
        """Answer until the rank closes its end of the pipe."""
        try:
            sweep(self.scratch)
            self._ready_worker()
            self._reply({"ready": os.getpid()})
            while True:
                question = self._from_rank(None)
                if "cpus" in question:  # affinity is inherited by workers started from now on
                    self._pin(question["cpus"])
                    continue
                if "letter" in question:  # too late: the process that waited for it was ended
                    continue
                self._reply(self._compute(question))
                if self.worker and self.worker.answered >= self.orders.molecules_per_process:
                    self._drop_worker()
                self._ready_worker()  # start it while the rank fetches the next molecule
        except RankIsGoneError:
            return
        finally:
            self._drop_worker()

    def _from_rank(self, seconds: float | None) -> Any:
        while True:
            try:
                message = self.rank.poll(3600.0 if seconds is None else seconds)
            except EOFError:
                raise RankIsGoneError from None
            if message is not None or seconds is not None:
                return message

    def _reply(self, message: dict[str, Any]) -> None:
        try:
            wire.write(self.replies, message)
        except BrokenPipeError:
            raise RankIsGoneError from None

    def _pin(self, cpus: list[int]) -> None:
        os.sched_setaffinity(0, cpus)
        if self.worker is not None:
            for thread in Path(f"/proc/{self.worker.process.pid}/task").iterdir():
                os.sched_setaffinity(int(thread.name), cpus)

    def _ready_worker(self) -> Worker:
        if self.worker is None:
            self.worker = Worker(self.orders, self.calculator, self.scratch, self.log)
            outcome = self._await(self.worker, _SECONDS_TO_START)
            if "ready" not in outcome:
                words = self.worker.last_words()
                self._drop_worker()
                # Without a worker the rank is of no use; its exit tells the launcher, loudly.
                raise SystemExit(f"the Psi4 process does not start: {outcome['message']} {words}")
        return self.worker

    def _drop_worker(self) -> None:
        if self.worker is not None:
            self.worker.end()
            self.worker = None

    def _compute(self, question: dict[str, Any]) -> dict[str, Any]:
        busy = 0.0
        first = time.time()
        group = question.get("group")
        asked = {"molecule": question["molecule"]} | ({"group": group[:2]} if group else {})
        asked["whole"] = question.get("whole", False)
        for attempt in [group[2]] if group else range(self.orders.tries):
            worker = self._ready_worker()
            start = time.time()
            try:
                wire.write(worker.questions, {**asked, "attempt": attempt})
                outcome = self._await(worker, question["limit"], relaying=bool(group))
            except BrokenPipeError:
                outcome = self._crash(worker)
            outcome.setdefault("start", start)
            outcome.setdefault("end", time.time())
            busy += outcome["end"] - outcome["start"]
            if attempt == 0:
                first = outcome["start"]
            if outcome.get("dead"):
                self._drop_worker()
            else:
                worker.answered += 1
            if outcome.get("cause") not in TRIED_AGAIN:
                break
        outcome.pop("dead", None)
        return {
            **outcome,
            "key": question["key"],
            "tries": attempt + 1,
            "start": first,
            "busy": busy,
        }

    def _await(self, worker: Worker, limit: float, *, relaying: bool = False) -> dict[str, Any]:
        """The worker's answer, or why there will be none.

        relaying   letters may pass meanwhile; else what the rank says is left for later
        """
        began = time.monotonic()
        while True:
            watched = [worker.inbox, self.rank] if relaying else [worker.inbox]
            wire.wait(watched, _SECONDS_BETWEEN_LOOKS)
            try:
                answer: dict[str, Any] | None = worker.inbox.poll()
            except EOFError:
                return self._crash(worker)
            if answer is not None and ("want" in answer or "to" in answer):
                self._reply(answer)
                continue
            if answer is not None:
                return answer
            if relaying and (letter := self._from_rank(0.0)) is not None:
                wire.write(worker.questions, letter)  # it waits for it
            elif self.rank.closed():
                raise RankIsGoneError
            if time.monotonic() - began > limit:
                return {
                    "dead": True,
                    "cause": "hang",
                    "message": f"no result within {limit:.0f} s: the process was ended",
                }
            held = worker.resident_mb()
            if held > self.orders.memory_mb:
                return {
                    "dead": True,
                    "cause": "resources",
                    "message": f"the process held {held:.0f} MB, "
                    f"over the site's memory_mb = {self.orders.memory_mb}",
                }

    def _crash(self, worker: Worker) -> dict[str, Any]:
        status = worker.process.wait()
        how = f"exit status {status}"
        if status < 0:
            how = f"signal {signal.Signals(-status).name}"
        message = f"the Psi4 process ended by {how}"
        words = worker.last_words()
        return {"dead": True, "cause": "crash", "message": f"{message}: {words}".rstrip(": ")}


def main() -> None:
    """Run as ``python -m hpcml.generation.psi4_process.keeper``, by a rank."""
    die_with_parent()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
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
