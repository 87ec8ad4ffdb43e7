"""The end of a campaign before its work is done: asked for by a signal, told to ranks by a file."""

from __future__ import annotations

import signal
import time

from hpcml.cluster.run_folder import RunFolder
from hpcml.cluster.site import Site
from hpcml.cluster.stop_signals import StopSignals
from hpcml.files import write_whole

_SECONDS_TO_STOP = 20.0  # after the time that was left to calculations


class CampaignStop:
    """Whether the campaign is to end in order, and the file that carries the word to the ranks."""

    def __init__(self, run_folder: RunFolder, site: Site) -> None:
        self.file = run_folder.stop_file
        self.margin = site.margin
        self.began = time.time()
        self.walltime_is_over = False
        self._signals = StopSignals()
        self._end = 0.0  # epoch seconds by which ranks were told to end; 0: they were not

    def __enter__(self) -> CampaignStop:
        self.file.unlink(missing_ok=True)
        self._signals.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._signals.__exit__()
        self.file.unlink(missing_ok=True)

    def asked(self) -> bool:
        """Whether nothing more is to be started; the first time, ranks are told so."""
        if self._signals.asked and not self._end:
            # USR1 is the scheduler's warning: current molecules may take half of what is left.
            warned = self._signals.received[0] == signal.SIGUSR1
            self._end = time.time() + (0.5 * self.margin if warned else 0.0)
            self.walltime_is_over = warned
            words = f"{self._end} walltime" if warned else f"{self._end}"
            write_whole(self.file, words.encode())
        return self._signals.asked or self.walltime_is_over

    def overdue(self) -> bool:
        """Whether ranks that were told to end have had the time to."""
        return self.asked() and 0.0 < self._end < time.time() - _SECONDS_TO_STOP
