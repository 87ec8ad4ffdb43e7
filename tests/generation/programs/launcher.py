"""A campaign in a process of its own, so that a test can kill it.

    launcher.py RUN CALCULATOR SITE NAME...

computes one water molecule a name; exit code 85 when work is left, 1 for an error.
"""

import ast
import sys

import numpy as np

from hpcml.cluster import RunFolder, Site
from hpcml.cluster.stop_signals import interruptible
from hpcml.errors import HpcmlError
from hpcml.generation import generate
from hpcml.molecules import Molecule
from hpcml.response import Level, Request


def waters(names):
    for stretch, name in enumerate(names):
        r = 0.95 + 0.002 * stretch
        positions = np.array([[0, 0, 0], [0, 0.79 * r, 0.61 * r], [0, -0.79 * r, 0.61 * r]])
        yield Molecule(np.array([8, 1, 1]), positions, name=name)


if __name__ == "__main__":
    run, calculator, site, *names = sys.argv[1:]
    try:
        with interruptible():
            report = generate(
                RunFolder(run),
                waters(names),
                Level(method="HF", basis="STO-3G"),
                Request(properties=("dipole", "alpha", "beta")),
                Site(**ast.literal_eval(site)),
                calculator=calculator,
            )
    except KeyboardInterrupt:
        sys.exit(85)
    except HpcmlError as error:
        print(f"error: {error}")
        sys.exit(1)
    print(report)
    sys.exit(85 if report.stopped else 0)
