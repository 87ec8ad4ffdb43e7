"""The stage generate: what is missing, where it runs, and an MPI program that computes it.

Who starts whom; what is right of it dies when the one above it dies:

    launcher        generate_stage (plan: what is missing, what it costs, who gets it)
      | blocks.OneBlock: a child of the launcher, in a session of its own     SIGTERM (processes)
      | pilot_jobs.PilotJobs: Parsl, from a cluster's login node              no heartbeat: 180 s
    mpiexec, srun
      | one start of the MPI program (ranks.generate_program)                 SIGTERM
    ranks 0..n      ranks.rank; rank 0 has the server, desk, dispatch and queue besides
      | pipe        one keeper a rank, started before MPI                     closed pipe
    keeper          psi4_process.keeper: tries, limits, memory, cores; no MPI, no Psi4
      | pipe        one Psi4 process, replaced when it crashes, hangs, or has done its share
    Psi4 process    psi4_process.process -> calculators -> hpcml.response     SIGKILL

A rank that dies ends its program (mpiexec ends the others), and the launcher plans what is left; a
keeper whose rank is gone ends its Psi4 process and empties the scratch folder.  Molecules go down
as ``protocol.messages``; what comes up is an answer, a row in the rank's journal, a shard, a line
of the manifest, and beside them progress.json, timings.csv and failures.jsonl of the task.

The names are loaded when they are first used: the programs of this room start on every core of a
machine and import only what they need.
"""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
