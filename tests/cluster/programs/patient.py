"""A launcher of an MPI program that goes on until it is asked to stop, as training does.

patient.py LOG          the launcher: exit code 85 when the program stopped in time
python -m patient       a rank of the program
"""

import sys
import time
from pathlib import Path

from hpcml.cluster import Site, run_mpi
from hpcml.cluster.mpi_program import end_by, stop_asked
from hpcml.cluster.stop_signals import interruptible


def rank():
    from mpi4py import MPI

    asked = stop_asked()
    print(f"rank {MPI.COMM_WORLD.rank} is up", flush=True)
    while not MPI.COMM_WORLD.allreduce(asked()):
        time.sleep(0.05)
    return 85


def main():
    log = Path(sys.argv[1])

    def watch():
        if log.read_text().count("is up") == 2:
            print("computing", flush=True)

    with interruptible():
        finished = run_mpi(2, "patient", ["--in", str(log.parent)], Site(), log, watch=watch)
    sys.exit(0 if finished else 85)


if __name__ == "__main__":
    if sys.argv[1] == "--in":
        end_by("patient", rank)
    else:
        main()
