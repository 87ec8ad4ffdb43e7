"""sbatch scripts from the settings: a pure function, whose output is also shipped in slurm/.

Every value goes through shell quoting; a value with a line break never gets here (``Site``
refuses it).  What the script does beside starting hpcml:

- SLURM signals the batch shell ``margin`` seconds before the end (--signal=B:USR1).  Bash runs a
  trap only between commands, so hpcml runs in the background and the shell waits for it, again
  after each signal.
- hpcml ends with 85 when work is left: the job puts itself into the queue again, or, where
  requeueing is not allowed, the next element of a one-at-a-time array goes on.
- srun has not read SLURM_CPUS_PER_TASK since 22.05: SRUN_CPUS_PER_TASK is exported.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from hpcml.cluster.site import Site

STAGES = ("generate", "train", "explain", "analyze", "report")
PARALLEL = ("train", "explain")  # their ranks are settings of their own, and they may use GPUs


def script(
    stages: Sequence[str],
    site: Site,
    *,
    campaign: str,
    run: str,
    output: str,
    ranks: int = 1,
    hpcml: Sequence[str] = ("hpcml",),
    name: str = "",
) -> str:
    """The text of an sbatch script that runs these stages one after another.

    campaign, run   shell words (quoted already, or an expression such as ``"$1"``)
    output          where SLURM writes what the job prints, in sbatch's own notation (%j)
    ranks           of training and explaining
    hpcml           the words that start the command line
    name            of the job; empty: hpcml and the stages
    """
    lines = ["#!/bin/bash"]
    lines += [
        f"#SBATCH {shlex.quote(word)}"
        for word in _options(stages, site, ranks, name or "-".join(("hpcml", *stages)), output)
    ]
    lines += ["", "umask 077", f"campaign={campaign}", f"run={run}"]
    lines += [f"module load {shlex.quote(module)}" for module in site.modules]
    lines += list(site.setup)
    lines += _exports(site)
    lines += ["", _FUNCTION.strip("\n")]
    for stage in stages:
        lines += ["", f'stage {shlex.join([*hpcml, stage])} "$campaign" --run "$run"']
        if stage == "generate":
            lines += [_FAILED_MOLECULES.strip("\n")]
        lines += [_ENDING[site.requeue and not site.array].strip("\n")]
    return "\n".join(lines) + "\n"


def _options(stages: Sequence[str], site: Site, ranks: int, name: str, output: str) -> list[str]:
    """The job's options, each as one word of sbatch's command line."""
    per_node = max(1, site.ranks_per_node)
    if "generate" in stages:
        nodes, tasks = site.nodes, per_node
    elif any(stage in PARALLEL for stage in stages):
        nodes, tasks = -(-ranks // per_node), min(ranks, per_node)
    else:
        nodes, tasks = 1, 1
    whole_node = site.exclusive and "generate" in stages
    options = {
        "job-name": name,
        "output": output,
        "open-mode": "append",
        "nodes": str(nodes),
        "ntasks-per-node": str(tasks),
        "cpus-per-task": str(site.threads),
        "mem": "0" if whole_node else f"{tasks * site.memory_mb}M",
        "time": site.walltime,
        "signal": f"B:USR1@{site.margin:.0f}",
        "hint": site.hint,
        "partition": site.partition,
        "account": site.account,
        "qos": site.qos,
        "constraint": site.constraint,
    }
    if site.gpus_per_node and any(stage in PARALLEL for stage in stages):
        options["gpus-per-node"] = str(site.gpus_per_node)
    if site.array:
        options["array"] = f"1-{site.array}%1"
    words = [f"--{option}={value}" for option, value in options.items() if value]
    words += ["--exclusive"] if whole_node else []
    words += ["--requeue" if site.requeue and not site.array else "--no-requeue"]
    return [*words, *site.sbatch_options]


def _exports(site: Site) -> list[str]:
    return [
        f"export OMP_NUM_THREADS={site.threads} OPENBLAS_NUM_THREADS={site.threads}",
        f"export SRUN_CPUS_PER_TASK={site.threads}",
    ]


_FUNCTION = r"""
# Runs a command in the background, so that the shell can pass SLURM's signals on to it.
stage() {
    caught= child=
    trap 'caught=USR1; kill -USR1 "$child" 2>/dev/null' USR1
    trap 'caught=TERM; kill -TERM "$child" 2>/dev/null' TERM
    "$@" &
    child=$!
    if [ -n "$caught" ]; then kill -"$caught" "$child"; fi  # it came before the number was known
    caught=none
    while [ -n "$caught" ]; do  # a signal ends the wait, but not the command
        caught=
        wait "$child"
        status=$?
    done
}
"""

_FAILED_MOLECULES = r"""
# 1: molecules failed, and failures.jsonl names them. If no other is missing, that is all.
if [ "$status" -eq 1 ] && grep -q '"missing":0[,}]' "$run/work/plan.json"; then status=0; fi
"""

_ENDING = {
    True: r"""
# 85: work is left, go on later; but a job that was cancelled (scancel) stays so.
if [ "$status" -eq 85 ] && [ "$(squeue --noheader --jobs="$SLURM_JOB_ID" --format=%T)" = RUNNING ]
then scontrol requeue "$SLURM_JOB_ID"; fi
if [ "$status" -ne 0 ]; then exit "$status"; fi
""",
    False: r"""
if [ "$status" -ne 0 ]; then exit "$status"; fi  # 85: work is left, the next job goes on
""",
}

_USAGE = "usage: sbatch {name}.sbatch CAMPAIGN.toml RUN"

_CLUSTER = Site(
    kind="slurm",
    launcher="srun",
    nodes=2,
    ranks_per_node=32,
    memory_mb=3500,
    walltime="12:00:00",
    margin=300.0,
)


def templates() -> dict[str, str]:
    """The scripts shipped in slurm/, by file name: to be copied, edited and given to sbatch.

    ``pipeline`` runs every stage in one job; ``hpcml submit`` chains a job for each instead.
    ``scaling`` is ``generate`` into a folder for each number of nodes:
    ``for n in 1 2 4 8; do sbatch --nodes=$n scaling.sbatch CAMPAIGN.toml RUN; done``.
    """
    stages = {
        "generate": ("generate",),
        "train": ("train",),
        "explain": ("explain",),
        "pipeline": STAGES,
        "scaling": ("generate",),
    }
    made = {}
    for name, parts in stages.items():
        usage = shlex.quote(_USAGE.format(name=name)).strip("'")
        run = f'"${{2:?{usage}}}'
        made[f"{name}.sbatch"] = script(
            parts,
            _CLUSTER,
            campaign=f'"${{1:?{usage}}}"',
            run=run + ('-$SLURM_JOB_NUM_NODES"' if name == "scaling" else '"'),
            output=f"hpcml-{name}-%j.out",
            ranks=4,
            name=f"hpcml-{name}",
        )
    return made


def main() -> None:
    """Write the shipped scripts: ``python -m hpcml.cluster.batch_script slurm/``."""
    import sys

    for name, text in templates().items():
        (Path(sys.argv[1]) / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
