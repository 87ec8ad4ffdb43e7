"""A campaign handed to SLURM: one job a stage, each after the one before it."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from hpcml.cluster import slurm
from hpcml.cluster.batch_script import Job, script
from hpcml.cluster.run_folder import RunFolder
from hpcml.cluster.site import Site
from hpcml.errors import PlatformError, SettingsError
from hpcml.files import write_whole

_SECONDS_FOR_SBATCH = 120


def scripts(
    run_folder: RunFolder,
    campaign: Path,
    jobs: Sequence[Job],
    site: Site,
) -> dict[str, str]:
    """The sbatch script of each stage, by stage; nothing is written or started.

    campaign   the campaign's TOML file, which names this site (the run's own campaign.toml)
    Raises SettingsError if the site is no cluster.
    """
    if site.kind != "slurm":
        raise SettingsError(f'only a site with kind = "slurm" takes jobs; this one is {site.kind}')
    return {
        job.stage: script(
            (job,),
            site,
            campaign=shlex.quote(str(Path(campaign).absolute())),
            run=shlex.quote(str(run_folder.path)),
            # sbatch reads % in file names: a doubled one stands for itself
            output=str(run_folder.logs).replace("%", "%%") + f"/{job.stage}-%j.out",
            hpcml=(sys.executable, "-m", "hpcml"),
            name=f"{run_folder.name}-{job.stage}",
        )
        for job in jobs
    }


def submit(
    run_folder: RunFolder,
    campaign: Path,
    jobs: Sequence[Job],
    site: Site,
) -> dict[str, str]:
    """Hand every stage to sbatch, each to begin when the one before it has ended well.

    Where a stage is an array, whose elements end with 85 as long as work is left, the next one
    begins when all have ended, however they did; so it does after a job of several parts.

    Returns the job's number by stage, and keeps it in RUN/work/jobs.json.  Raises SettingsError
    while jobs of this run are in the queue, PlatformError with SLURM's own words if it refuses
    one or cannot be reached; the others are cancelled then.
    """
    texts = scripts(run_folder, campaign, jobs, site)
    if queued := slurm.states(list(submitted_jobs(run_folder).values())):
        raise SettingsError(
            f"{run_folder.path}: jobs {', '.join(queued)} are still queued; "
            f"let them end, or: scancel {' '.join(queued)}"
        )
    when = "afterany" if site.array or any(job.parts for job in jobs) else "afterok"
    run_folder.create()
    numbers: dict[str, str] = {}
    for stage, text in texts.items():
        path = run_folder.work / f"{stage}.sbatch"
        write_whole(path, text.encode())
        options = [f"--dependency={when}:{list(numbers.values())[-1]}"] if numbers else []
        try:
            numbers[stage] = _sbatch([*options, str(path)])
        except PlatformError:
            if numbers:
                subprocess.run(["scancel", *numbers.values()], check=False, timeout=60)
            raise
    write_whole(run_folder.jobs, msgspec.json.encode(numbers))
    return numbers


def submitted_jobs(run_folder: RunFolder) -> dict[str, str]:
    """SLURM's number of the job last submitted for each stage of a run; {} where none was."""
    try:
        return msgspec.json.decode(run_folder.jobs.read_bytes(), type=dict[str, str])
    except (OSError, msgspec.DecodeError):
        return {}


def _sbatch(arguments: list[str]) -> str:
    try:
        answer = subprocess.run(
            ["sbatch", "--parsable", "--kill-on-invalid-dep=yes", *arguments],
            env=slurm.environment(for_new_job=True),
            capture_output=True,
            text=True,
            timeout=_SECONDS_FOR_SBATCH,
            check=False,
        )
    except FileNotFoundError:
        raise PlatformError(
            "sbatch is not installed here: run this on a login node of the cluster"
        ) from None
    except subprocess.TimeoutExpired:
        raise PlatformError(
            f"SLURM has not answered for {_SECONDS_FOR_SBATCH} s: try again later"
        ) from None
    if answer.returncode != 0:
        words = " ".join(answer.stderr.split()) or f"exit status {answer.returncode}"
        raise PlatformError(f"sbatch refuses {arguments[-1]}: {words}")
    return answer.stdout.strip().partition(";")[0]
