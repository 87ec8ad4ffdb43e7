"""Campaigns: what is missing, where it runs, and an MPI program that computes it.

The names are loaded when they are first used: the programs of this room (``worker``, ``keeper``,
``psi4_worker``) start on every core of a machine and import only what they need.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hpcml.campaign.generation import GenerateReport, generate
    from hpcml.campaign.launch import mpi_command, mpi_environment, run_mpi
    from hpcml.campaign.planning import Plan, plan, survey
    from hpcml.campaign.run_folder import RunFolder
    from hpcml.campaign.run_status import Status, status
    from hpcml.campaign.site import Site
    from hpcml.campaign.submission import scripts, submit

_HOME = {
    "GenerateReport": "generation",
    "Plan": "planning",
    "RunFolder": "run_folder",
    "Site": "site",
    "generate": "generation",
    "mpi_command": "launch",
    "mpi_environment": "launch",
    "plan": "planning",
    "run_mpi": "launch",
    "scripts": "submission",
    "Status": "run_status",
    "status": "run_status",
    "submit": "submission",
    "survey": "planning",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"hpcml.campaign.{_HOME[name]}"), name)
    raise AttributeError(f"module 'hpcml.campaign' has no attribute {name!r}")


__all__ = [
    "GenerateReport",
    "Plan",
    "RunFolder",
    "Site",
    "Status",
    "generate",
    "mpi_command",
    "mpi_environment",
    "plan",
    "run_mpi",
    "scripts",
    "status",
    "submit",
    "survey",
]
