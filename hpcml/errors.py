"""Errors, named by what the person who meets one can do about it.

Each class carries ``cause``, the word under which a failed molecule is filed in
``failures.jsonl`` and by which ``hpcml retry --cause`` finds it again.  A traceback is for
bugs; everything here is printed as one line.
"""

from __future__ import annotations


class HpcmlError(Exception):
    """Base of every error that hpcml raises on purpose; the message is one clear line."""

    cause = "internal"


class SettingsError(HpcmlError):
    """A setting, a command-line word or a TOML key is wrong: change it (exit code 2)."""

    cause = "settings"


class InputError(HpcmlError):
    """A molecule or a file cannot be used as it is: mend or drop it (exit code 2)."""

    cause = "input"


class ConvergenceError(HpcmlError):
    """An iteration did not reach its threshold: another algorithm or more steps may.

    ``residual`` is the norm that was reached (NaN where none is known).
    """

    cause = "convergence"

    def __init__(self, message: str, residual: float = float("nan")) -> None:
        super().__init__(message)
        self.residual = residual

    def __reduce__(self) -> tuple[type[ConvergenceError], tuple[str, float]]:
        return type(self), (str(self), self.residual)


class ResourceError(HpcmlError):
    """Memory, disk, or time ran out: give more, or ask for less."""

    cause = "resources"


class PlatformError(HpcmlError):
    """Something that must be installed or running is not: the message says how to mend it."""

    cause = "environment"


class EngineError(HpcmlError):
    """The program that does the SCF fails for a reason of its own, told in its words: another
    recipe of the SCF, or another machine, may do."""

    cause = "engine"


class InputWarning(UserWarning):
    """A molecule was read in one of several ways that it may be meant; the message is one line.

    The command line prints it, Python's ``warnings`` filters it.
    """


class PlatformWarning(UserWarning):
    """Something here is not as usual, and something else serves instead; the message is one line.

    The command line prints it, Python's ``warnings`` filters it.
    """
