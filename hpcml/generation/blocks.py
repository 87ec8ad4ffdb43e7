"""Where MPI programs run: this machine, an allocation, or pilot jobs (``pilot_jobs``)."""

from __future__ import annotations

import subprocess
from types import TracebackType
from typing import Protocol

from hpcml.cluster.launch import end_program, mpi_command, mpi_environment, start_program
from hpcml.cluster.site import Site
from hpcml.generation.protocol.task import TaskFolder

PROGRAM = "hpcml.generation.ranks.generate_program"


class ProgramRun(Protocol):
    """One start of the MPI program."""

    def ended(self) -> bool:
        """Whether it has ended, or will never start; never waits."""

    def error(self) -> str:
        """How it ended badly, in one line; "" if it ended well."""


class Blocks(Protocol):
    """The blocks of a site, as long as the context lasts."""

    def __enter__(self) -> Blocks: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End what still runs."""

    def start(self, task: TaskFolder, calculator: str, site: Site) -> ProgramRun:
        """Start the MPI program of a task on the next free block; what it prints: task.output.

        site   as this program sees it: its ranks, threads and memory
        """

    def end(self) -> None:
        """End now what runs, and start nothing that waits."""


def task_command(task: TaskFolder, calculator: str, site: Site) -> list[str]:
    """Words that start the MPI program of a task."""
    return mpi_command(site.ranks, PROGRAM, [str(task.path), "--calculator", calculator], site)


class _LocalRun:
    """A program of the one block: it waits for those before it, runs, and has ended."""

    def __init__(self, block: OneBlock, task: TaskFolder, calculator: str, site: Site) -> None:
        self.block = block
        self.task = task
        self.command = task_command(task, calculator, site)
        self.environment = mpi_environment(site)
        self.process: subprocess.Popen[bytes] | None = None
        self.abandoned = False

    def ended(self) -> bool:
        self.block.go_on()
        return self.abandoned or (self.process is not None and self.process.poll() is not None)

    def error(self) -> str:
        if self.abandoned:
            return "it was not started"
        status = self.process.returncode if self.process is not None else 0
        return f"{self.command[0]} ended with status {status}" if status else ""

    def start(self) -> None:
        with self.task.output.open("ab") as output:
            self.process = start_program(self.command, self.environment, output)


class OneBlock:
    """This machine, or the allocation that this process runs in: one program at a time."""

    def __init__(self) -> None:
        self._runs: list[_LocalRun] = []

    def __enter__(self) -> OneBlock:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end()

    def start(self, task: TaskFolder, calculator: str, site: Site) -> ProgramRun:
        self._runs.append(_LocalRun(self, task, calculator, site))
        self.go_on()
        return self._runs[-1]

    def go_on(self) -> None:
        """Start the next program if none runs."""
        for run in self._runs:
            if run.process is None and not run.abandoned:
                run.start()
            if run.process is not None and run.process.poll() is None:
                return

    def end(self) -> None:
        for run in self._runs:
            if run.process is None:
                run.abandoned = True
            elif run.process.poll() is None:
                end_program(run.process)
