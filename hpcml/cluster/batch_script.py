"""sbatch scripts from the settings: a pure function, whose output is also shipped in slurm/.

Every value goes through shell quoting; a value with a line break never gets here (``Site``
refuses it).  What the script does beside starting hpcml:

- SLURM signals the batch shell ``margin`` seconds before the end (--signal=B:USR1).  Bash runs a
  trap only between commands, so hpcml runs in the background and the shell waits for it, again
  after each signal.
- hpcml ends with 85 when work is left: the job puts itself into the queue again, or, where
  requeueing is not allowed, the next element of a one-at-a-time array goes on.
- a login shell runs it (-l): that is what defines ``module`` on most clusters.
- srun has not read SLURM_CPUS_PER_TASK since 22.05: SRUN_CPUS_PER_TASK is exported.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

import msgspec

from hpcml.cluster.deadline import seconds
from hpcml.cluster.site import Site


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What a script has to know of a stage.

    stage    its word on hpcml's command line
    ranks    of its MPI program; None: as many as the site has
    gpus     its ranks may use GPUs
    hours    after which it has ended at the latest; 0: it may take the site's walltime
    partial  exit code 1 names parts that failed; where nothing is missing, the next stage goes on
    words    behind hpcml on its command line; empty: the stage's
    parts    jobs of an array that each do a part of the stage, given as --part; 0: no array
    """

    stage: str
    ranks: int | None = 1
    gpus: bool = False
    hours: float = 0.0
    partial: bool = False
    words: tuple[str, ...] = ()
    parts: int = 0


def script(
    jobs: Sequence[Job],
    site: Site,
    *,
    campaign: str,
    run: str,
    output: str,
    hpcml: Sequence[str] = ("hpcml",),
    name: str = "",
) -> str:
    """The text of an sbatch script that runs these stages one after another.

    campaign, run   shell words (quoted already, or an expression such as ``"$1"``)
    output          where SLURM writes what the job prints, in sbatch's own notation (%j)
    hpcml           the words that start the command line
    name            of the job; empty: hpcml and the stages
    """
    stages = [job.stage for job in jobs]
    lines = ["#!/bin/bash -l"]
    lines += [
        f"#SBATCH {shlex.quote(word)}"
        for word in _options(jobs, site, name or "-".join(["hpcml", *stages]), output)
    ]
    lines += ["", "umask 077", f"campaign={campaign}", f"run={run}"]
    lines += [f"module load {shlex.quote(module)}" for module in site.modules]
    lines += list(site.setup)
    lines += _exports(site)
    lines += ["", _FUNCTION.strip("\n")]
    for job in jobs:
        words = shlex.join([*hpcml, *(job.words or (job.stage,))])
        part = f' --part "$SLURM_ARRAY_TASK_ID/{job.parts}"' if job.parts else ""
        lines += ["", f'stage {words} "$campaign" --run "$run"{part}']
        if job.partial:
            lines += [_FAILED_MOLECULES.strip("\n")]
        lines += [_ENDING[site.requeue and not site.array].strip("\n")]
    return "\n".join(lines) + "\n"


def _options(jobs: Sequence[Job], site: Site, name: str, output: str) -> list[str]:
    """The job's options, each as one word of sbatch's command line."""
    per_node = max(1, site.ranks_per_node)
    all_nodes = any(job.ranks is None for job in jobs)
    ranks = max(job.ranks or 1 for job in jobs)
    if all_nodes:
        nodes, tasks = site.nodes, per_node
    else:
        nodes, tasks = -(-ranks // per_node), min(ranks, per_node)
    whole_node = site.exclusive and all_nodes
    options = {
        "job-name": name,
        "output": output,
        "open-mode": "append",
        "nodes": str(nodes),
        "ntasks-per-node": str(tasks),
        "cpus-per-task": str(site.threads),
        "mem": "0" if whole_node else f"{tasks * site.memory_mb}M",
        "time": _walltime(jobs, site),
        "signal": f"B:USR1@{site.margin:.0f}",
        "hint": site.hint,
        "partition": site.partition,
        "account": site.account,
        "qos": site.qos,
        "constraint": site.constraint,
    }
    if site.gpus_per_node and (site.gpus_for_all or any(job.gpus for job in jobs)):
        options["gpus-per-node"] = str(site.gpus_per_node)
    if site.array:
        options["array"] = f"1-{site.array}%1"
    if parts := max(job.parts for job in jobs):
        options["array"] = f"1-{parts}"
    words = [f"--{option}={value}" for option, value in options.items() if value]
    words += ["--exclusive"] if whole_node else []
    words += ["--requeue" if site.requeue and not site.array else "--no-requeue"]
    return [*words, *site.sbatch_options]


def _walltime(jobs: Sequence[Job], site: Site) -> str:
    """The time to ask for, hh:mm:ss: the site's, or less where all is over sooner."""
    if not all(job.hours for job in jobs):
        return site.walltime
    minutes = round(60.0 * sum(job.hours for job in jobs))
    shorter = f"{minutes // 60}:{minutes % 60:02d}:00"
    return min(site.walltime, shorter, key=seconds)


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
if [ "$status" -eq 85 ]; then
    for pause in 0 5 20; do  # a busy SLURM may not answer at once
        sleep "$pause"
        state=$(squeue --noheader --jobs="$SLURM_JOB_ID" --format=%T) && [ -n "$state" ] && break
    done
    if [ "${state:-RUNNING}" = RUNNING ]; then
        for pause in 5 20 0; do scontrol requeue "$SLURM_JOB_ID" && break; sleep "$pause"; done
    fi
fi
if [ "$status" -ne 0 ]; then exit "$status"; fi
""",
    False: r"""
if [ "$status" -ne 0 ]; then exit "$status"; fi  # 85: work is left, the next job goes on
""",
}
