"""Real groups of ranks: large molecules computed together, under mpiexec, and what can go wrong."""

import os
import signal

import msgspec
import numpy as np
import pytest

from hpcml.generation import failures
from hpcml.generation.protocol.task import task_folders
from hpcml.molecules import Molecule
from hpcml.response import compute
from hpcml.store import Dataset, verify

HYDROGEN = Molecule(np.array([1, 1]), np.array([[0, 0, 0], [0, 0, 0.74]]), name="alone")


def grouped(campaign, ranks, large_ranks, **settings):
    """A site where water, with 7 functions, is large, and hydrogen, with 2, is not."""
    return msgspec.structs.replace(
        campaign.site, ranks_per_node=ranks, large_functions=7, large_ranks=large_ranks, **settings
    )


def rows_of(campaign):
    assert not verify(campaign.folder.dataset).problems
    return {row.molecule.name: row for row in Dataset.open(campaign.folder.dataset)}


@pytest.mark.parametrize(("ranks", "large_ranks"), [(2, 2), (4, 4)])
def test_ranks_together_store_what_one_process_computes(campaign, ranks, large_ranks):
    campaign.request = msgspec.structs.replace(campaign.request, frequencies=(0.05,))
    molecules = [*campaign.waters("a", "b"), HYDROGEN]
    site = grouped(campaign, ranks, large_ranks)
    report = campaign.run(molecules, site=site, calculator="psi4")
    assert (report.done, report.failed) == (3, {})
    rows = rows_of(campaign)
    assert [rows[name].provenance.get("ranks") for name in ("a", "b", "alone")] == [
        *(large_ranks, large_ranks),
        None,
    ]
    direct = compute(molecules[1], campaign.level, campaign.request)
    stored = rows["b"].values
    assert stored["energy"] == pytest.approx(direct.energy, abs=1e-8)
    for i, alpha in enumerate(direct.polarizability):
        np.testing.assert_allclose(stored["polarizability"][i], alpha.tensor, atol=1e-8)
    for i, beta in enumerate(direct.hyperpolarizability):
        np.testing.assert_allclose(stored["hyperpolarizability"][i], beta.tensor, atol=1e-8)


def test_a_member_that_fails_costs_its_group_a_try_and_nothing_else(campaign):
    """The leader or another one: killed, hanging, or with an error that the others do not have."""
    names = ["crash-0", "crash-1", "hang-0", "hang-2", "stubborn-0", "stubborn-2"]
    molecules = campaign.waters("together-0.2", *(f"together-0.2-{name}" for name in names))
    site = grouped(campaign, 4, 3, hang_seconds=5)
    report = campaign.run([*molecules, HYDROGEN], site=site, calculator="faulty:shared")
    assert (report.done, report.failed) == (8, {})
    tries = {name: row.provenance["tries"] for name, row in rows_of(campaign).items()}
    assert tries.pop("together-0.2") == tries.pop("alone") == 1
    assert set(tries.values()) == {2}


def test_a_group_that_fails_each_time_files_the_cause_of_the_member_that_failed(campaign):
    (water,) = campaign.waters("together-0.2-crash-1")
    site = grouped(campaign, 2, 2, tries=1)
    report = campaign.run([water, HYDROGEN], site=site, calculator="faulty:shared")
    assert (report.done, report.failed) == (1, {"crash": 1})
    (filed,) = failures.read(campaign.folder.failures).values()
    assert (filed.tries, filed.name) == (1, water.name)
    assert "SIGKILL" in filed.message


@pytest.mark.parametrize("victim", ["psi4_process.process", "generate_program"])
def test_kill_9_in_the_middle_of_a_shared_molecule(victim, campaign, wait_until):
    names = ["together-1.5", "together-1.51", "together-1.52"]
    settings = {"ranks_per_node": 4, "large_functions": 7, "large_ranks": 2}
    process = campaign.launch(names, calculator="faulty:shared", **settings)
    wait_until(lambda: any(f.read_progress().running for f in task_folders(campaign.folder.work)))
    os.kill(campaign.processes(victim)[1], signal.SIGKILL)
    output, _ = process.communicate(timeout=90)
    assert process.returncode == 0, output
    assert set(rows_of(campaign)) == set(names)
    assert len(Dataset.open(campaign.folder.dataset)) == 3


def test_a_stop_ends_groups_in_order(campaign, wait_until):
    process = campaign.launch(
        ["together-60"], calculator="faulty:shared", large_functions=7, large_ranks=2
    )
    wait_until(lambda: any(f.read_progress().running for f in task_folders(campaign.folder.work)))
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 85, output
    assert not campaign.processes("generate_program")
