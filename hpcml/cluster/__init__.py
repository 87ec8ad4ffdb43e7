"""How programs run on a machine or a cluster; every stage uses it, and it knows none of them.

    a person, or SLURM          submission, batch_script: one job a stage      run_folder: its lock
      | stop_signals            INT, TERM, HUP, PIPE, USR1: stop in order      deadline: its end
    hpcml STAGE                 the launcher
      | launch                  mpiexec or srun as ``site`` says, in a session of its own
      | processes               dies with the launcher, however that dies
    ranks of an MPI program     mpi_program: stops when asked, ends by a code of ``exits``

Each end is told by an exit code: 0 done, 1 failed, 2 wrong settings, 85 stopped with work left.
"""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
