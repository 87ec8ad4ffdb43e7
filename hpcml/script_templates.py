"""The sbatch scripts shipped in slurm/: ``python -m hpcml.script_templates slurm/`` writes them."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from hpcml import stages
from hpcml.cluster import Job, Site
from hpcml.cluster.batch_script import script

_USAGE = "usage: sbatch {name}.sbatch CAMPAIGN.toml RUN"

_CLUSTER = Site(
    kind="slurm",
    launcher="srun",
    nodes=2,
    ranks_per_node=32,
    memory_mb=3500,
    walltime="12:00:00",
    margin=300.0,
    setup=('source "${HPCML_ENV:-$HOME/hpcml}/bin/activate"  # EDIT: where hpcml is installed',),
)
_RANKS = 4  # of the stages whose ranks a campaign's settings name


def templates() -> dict[str, str]:
    """The scripts shipped in slurm/, by file name: to be copied, edited and given to sbatch.

    ``pipeline`` runs every stage in one job; ``hpcml submit`` chains a job for each instead.
    ``scaling`` is ``generate`` into a folder for each number of nodes:
    ``for n in 1 2 4 8; do sbatch --nodes=$n scaling.sbatch CAMPAIGN.toml RUN; done``.
    """
    jobs = {stage.name: stage.job(ranks=_RANKS) for stage in stages.STAGES}
    scripts: dict[str, tuple[Job, ...]]
    scripts = {stage.name: (jobs[stage.name],) for stage in stages.STAGES if stage.ranks != "one"}
    scripts["pipeline"] = tuple(jobs.values())
    for stage in stages.STAGES:
        if stage.ranks == "site":
            scripts["scaling"] = (jobs[stage.name],)
    made = {}
    for name, parts in scripts.items():
        usage = shlex.quote(_USAGE.format(name=name)).strip("'")
        run = f'"${{2:?{usage}}}'
        made[f"{name}.sbatch"] = script(
            parts,
            _CLUSTER,
            campaign=f'"${{1:?{usage}}}"',
            run=run + ('-$SLURM_JOB_NUM_NODES"' if name == "scaling" else '"'),
            output=f"hpcml-{name}-%j.out",
            name=f"hpcml-{name}",
        )
    return made


def main() -> None:
    """Write the shipped scripts: ``python -m hpcml.script_templates slurm/``."""
    for name, text in templates().items():
        (Path(sys.argv[1]) / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
