"""What do a million static hyperpolarizabilities cost: core-hours, files, bytes, at three levels?

    python benchmarks/million_cost.py [--molecules N] [--levels HF/6-31+G(d) ...]

Molecules of GDB-9 of two to six heavy atoms are computed at each level, on one thread; every other
one fits the cost model of ``plan/cost.py``, and the rest say how wrong it is on molecules that it
was not fitted to: the median and the largest factor by which one is off, and the error of their
sum, which is what a campaign's total depends on.  The million is of QM9's mean composition (C7NO
with nine hydrogens, 18 atoms), which is larger than what was computed: an extrapolation.  Seconds
are of the processor.  Bytes are those of a shard of 512 rows of such a molecule with this
provenance.  Five to ten minutes with four molecules a level and the defaults.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from hpcml.generation.plan.cost import fit, size
from hpcml.molecules import Molecule, read
from hpcml.response import Level, Request
from hpcml.response.compute import compute
from hpcml.store import Row, Schema, ShardWriter

GDB9 = Path(__file__).with_name("gdb9_200.xyz")
LEVELS = ("HF/6-31+G(d)", "B3LYP/6-31+G(d)", "B3LYP/aug-cc-pVDZ")
REQUEST = Request(properties=("dipole", "alpha", "beta"))
MEAN = np.array([6] * 7 + [7, 8] + [1] * 9)  # of QM9


def chosen(count: int) -> list[Molecule]:
    """Molecules of different sizes, from small to large."""
    every = [one for one in read(GDB9) if isinstance(one, Molecule)]
    every = [one for one in every if np.count_nonzero(one.numbers > 1) >= 2]
    every.sort(key=len)
    return [every[place] for place in np.linspace(0, len(every) - 1, count).astype(int)]


def bytes_a_row(provenance: dict[str, object]) -> float:
    """Of a shard of 512 rows, with the line of the manifest."""
    schema = Schema.for_request(REQUEST)
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory(prefix="hpcml-benchmark-") as folder:
        with ShardWriter(folder, schema, "bench") as writer:
            for number in range(512):
                molecule = Molecule(MEAN, rng.normal(size=(len(MEAN), 3)), name=f"gdb {number}")
                writer.append(Row(f"{number:032x}", molecule, {}, provenance))
        files = [path for path in Path(folder).rglob("*") if path.is_file()]
        return sum(path.stat().st_size for path in files) / 512


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--molecules", type=int, default=10, help="at each level, half for the fit")
    parser.add_argument("--levels", nargs="+", default=list(LEVELS))
    options = parser.parse_args()
    molecules = chosen(options.molecules)
    million = Molecule(MEAN, np.arange(3.0 * len(MEAN)).reshape(-1, 3))
    print(
        f"{'level':20}{'fitted':>7}{'held out':>9}{'median off':>12}{'most':>7}{'sum':>8}"
        f"{'exponent':>10}{'s each':>9}{'core-hours':>12}{'GB':>7}{'shards':>8}"
    )
    for name in options.levels:
        method, _, basis = name.partition("/")
        level = Level(method=method, basis=basis)
        sizes, seconds = [], []
        for molecule in (molecules[0], *molecules):  # the first one reads libraries
            began = time.process_time()
            found = compute(molecule, level, REQUEST)
            sizes.append(size(molecule, basis))
            seconds.append(time.process_time() - began)
        sizes, seconds = sizes[1:], seconds[1:]
        model = fit(level, REQUEST, sizes[::2], seconds[::2])
        held = np.array([model.expected(one) for one in sizes[1::2]])
        true = np.array(seconds[1::2])
        off = np.exp(np.abs(np.log(held / true)))
        each = model.expected(size(million, basis))
        print(
            f"{name:20}{len(sizes[::2]):7}{len(true):9}{np.median(off):12.2f}{off.max():7.2f}"
            f"{100 * (held.sum() / true.sum() - 1):+7.0f}%{model.exponent:10.2f}{each:9.1f}"
            f"{1e6 * each / 3600:12,.0f}{1e6 * bytes_a_row(found.provenance) / 1e9:7.1f}"
            f"{1e6 / 512:8,.0f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
