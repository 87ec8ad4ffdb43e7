"""A site says what is wrong with it, and what it is inside a job."""

import pytest

from hpcml.cluster import Site
from hpcml.errors import SettingsError

CLUSTER = {"kind": "slurm", "launcher": "srun", "ranks_per_node": 4, "walltime": "1:00:00"}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"threads": 0}, "threads must be at least 1"),
        ({"margin": -1.0}, "margin must not be negative"),
        ({"memory_mb": 100}, "memory_mb must be at least 500"),
        ({"large_functions": 300}, "large_functions needs large_ranks or large_threads"),
        ({"hang_seconds": 0}, "hang_seconds must be positive"),
        ({"kind": "slurm", "walltime": "1:00:00"}, "ranks_per_node must be given"),
        ({"kind": "slurm", "ranks_per_node": 2}, "walltime must be given"),
        ({"walltime": "0:01:00", "margin": 60.0}, "leaves nothing beside margin"),
        ({"walltime": "soon"}, "is not a time"),
        ({**CLUSTER, "walltime": "0:04:00"}, "must be longer than twice margin = 120 s"),
    ],
)
def test_a_value_that_cannot_be_is_named(settings, words):
    with pytest.raises(SettingsError, match=words):
        Site(**settings)


def test_inside_a_job_a_cluster_is_the_jobs_nodes():
    site = Site(**CLUSTER, nodes=2, blocks=5)
    assert site.here({}) is site
    inside = site.here({"SLURM_JOB_ID": "7", "SLURM_JOB_NUM_NODES": "8"})
    assert (inside.kind, inside.nodes, inside.blocks, inside.ranks) == ("allocation", 8, 1, 32)
    local = Site()
    assert local.here({"SLURM_JOB_ID": "7"}) is local


def test_cores_are_fixed_in_a_job_and_not_on_a_machine_that_others_use_too():
    assert Site(**CLUSTER).pins
    assert not Site().pins
    assert Site(pin=True).pins
    assert not Site(**CLUSTER, pin=False).pins
