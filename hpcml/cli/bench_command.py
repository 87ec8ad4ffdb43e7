"""How campaigns scale: measured on a site's ranks and nodes, and simulated beyond them."""

from __future__ import annotations

import argparse
from pathlib import Path

from hpcml.cli.command_words import Command, numbers
from hpcml.exits import DONE


def commands() -> list[Command]:
    """The command of this file."""
    return [
        Command(
            name="bench",
            help="how campaigns scale at a site (scaling), or on one that is simulated (simulate)",
            words=_words,
            run=_run,
        )
    ]


def _words(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", choices=["scaling", "simulate"])
    measure = parser.add_argument_group("scaling")
    measure.add_argument("--site", type=Path, metavar="SITE.toml", help="where (this machine)")
    measure.add_argument("--sizes", type=numbers, default=(1, 2), metavar="N,N",
                         help="numbers of nodes, or of ranks on one machine (1,2)")  # fmt: skip
    measure.add_argument("--stages", default="generate", metavar="STAGE,STAGE",
                         help="of generate, train, explain (generate)")  # fmt: skip
    measure.add_argument("--dataset", default="", metavar="DIR", help="for train and explain")
    measure.add_argument("--calculator", default="wait", help="wait (takes no core) or psi4")
    measure.add_argument("--basis", default="STO-3G", help="of psi4's water molecules (STO-3G)")
    measure.add_argument("--kinds", default="strong,weak", metavar="KIND,KIND",
                         help="of strong, weak (both)")  # fmt: skip
    measure.add_argument("--wait", type=float, default=0.5, help="seconds of a calculation (0.5)")
    measure.add_argument("--each", type=int, default=20, help="molecules a rank (20)")
    measure.add_argument("--rows", type=int, default=200, help="rows a rank: train, explain (200)")
    measure.add_argument("--repeats", type=int, default=3, help="of every point (3)")
    measure.add_argument("--against", type=Path, metavar="FILE", help="an earlier scaling.json")
    measure.add_argument("--out", type=Path, default=Path("scaling"), metavar="DIR",
                         help="for scaling.json, scaling.svg and what runs (scaling)")  # fmt: skip
    model = parser.add_argument_group("simulate")
    model.add_argument("--run", type=Path, metavar="RUN", help="take costs, gaps and start of it")
    model.add_argument("--nodes", type=numbers, default=(10, 128, 1024, 4096), metavar="N,N")
    model.add_argument("--ranks-per-node", type=int, default=64)
    model.add_argument("--molecules", type=numbers, default=(1e6,), metavar="N,N")
    model.add_argument("--times", type=float, default=1.0, help="costs times this: another level")
    model.add_argument("--machine", type=Path, metavar="FILE.toml", help="figures of a machine")


def _run(options: argparse.Namespace) -> int:
    if options.what == "scaling":
        _scaling(options)
    else:
        _simulate(options)
    return DONE


def _scaling(options: argparse.Namespace) -> None:
    from hpcml import config
    from hpcml.bench import scaling_runs, scaling_table
    from hpcml.cluster import Site
    from hpcml.errors import SettingsError
    from hpcml.files import make_folder

    stages = tuple(word for word in options.stages.split(",") if word)
    if not set(stages) <= set(scaling_runs.STAGES):
        raise SettingsError(f"--stages {options.stages}: of {', '.join(scaling_runs.STAGES)}")
    kinds = tuple(word for word in options.kinds.split(",") if word)
    if not set(kinds) <= set(scaling_runs.KINDS):
        raise SettingsError(f"--kinds {options.kinds}: of {', '.join(scaling_runs.KINDS)}")
    before = scaling_table.read(options.against) if options.against else []
    bench = scaling_runs.Bench(
        site=config.load_site(options.site) if options.site else Site(memory_mb=1000),
        sizes=tuple(int(size) for size in options.sizes),
        stages=tuple(stage for stage in scaling_runs.STAGES if stage in stages),
        kinds=tuple(kind for kind in scaling_runs.KINDS if kind in kinds),
        dataset=options.dataset,
        calculator=options.calculator,
        basis=options.basis,
        wait=options.wait,
        each=options.each,
        rows=options.rows,
        repeats=options.repeats,
    )
    make_folder(options.out)
    points = scaling_runs.run(bench, options.out, lambda line: print(line, flush=True))
    scaling_table.write(points, options.out / "scaling.json")
    scaling_table.draw(points, options.out / "scaling.svg")
    print(scaling_table.table(points, before))
    print(options.out / "scaling.json")
    print(options.out / "scaling.svg")


def _simulate(options: argparse.Namespace) -> None:
    import msgspec
    import numpy as np

    from hpcml import config
    from hpcml.bench.campaign_simulation import Machine, simulate
    from hpcml.bench.measured_run import measured
    from hpcml.cluster import RunFolder

    machine = config.load_struct(options.machine, Machine) if options.machine else Machine()
    if options.run:
        found = measured(RunFolder(options.run))
        machine, costs = found.machine(machine), found.costs
    else:
        costs = np.random.default_rng(0).lognormal(np.log(40.0), 0.8, 5000)
    costs = costs * options.times
    print(
        f"{'nodes':>6}{'ranks':>8}{'molecules':>12}{'mean s':>8}{'hours':>9}{'efficient':>11}"
        f"{'desk':>7}{'files':>7}{'failed':>7}  most is lost to"
    )
    for count in options.molecules:
        for nodes in options.nodes:
            place = msgspec.structs.replace(
                machine, nodes=int(nodes), ranks_per_node=options.ranks_per_node
            )
            made = simulate(place, costs, int(count))
            print(
                f"{int(nodes):6}{made.ranks:8}{int(count):12}{costs.mean():8.1f}"
                f"{made.makespan / 3600:9.2f}{100 * made.efficiency:10.1f}%{made.desk:7.3f}"
                f"{made.files:7.3f}{made.failures:7}  {made.bottleneck} "
                f"({100 * made.lost[made.bottleneck]:.1f} %)",
                flush=True,
            )
