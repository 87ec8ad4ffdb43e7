"""Whole campaigns on this machine: mpiexec, two ranks, and everything that can go wrong."""

import os
import signal

import msgspec
import numpy as np
import pytest

from hpcml.cluster import RunFolder
from hpcml.errors import PlatformError, ResourceError, SettingsError
from hpcml.generation import failures
from hpcml.generation.plan.planning import done_keys
from hpcml.molecules import Defect, Molecule
from hpcml.response import Level, compute
from hpcml.store import Dataset, result_key, verify


def assert_each_has_one_row(campaign, molecules):
    """Every molecule has exactly one row, and every byte is as it was written."""
    dataset = Dataset.open(campaign.folder.dataset)
    stored = sum(rows for _, rows, _ in dataset.shards)
    assert stored == len(dataset) == len(molecules)
    wanted = {result_key(m, campaign.level, campaign.request) for m in molecules}
    assert set(dataset.keys) == wanted
    assert not verify(campaign.folder.dataset).problems


def test_a_campaign_stores_what_a_direct_calculation_gives(campaign):
    molecules = campaign.waters("a", "b", "c")
    report = campaign.run([*molecules, molecules[0]], calculator="psi4")
    assert (report.total, report.done, report.computed, report.left) == (3, 3, 3, 0)
    assert report.doubled == 1
    assert not report.failed
    assert_each_has_one_row(campaign, molecules)
    rows = {row.molecule.name: row for row in Dataset.open(campaign.folder.dataset)}
    direct = compute(molecules[1], campaign.level, campaign.request)
    beta = direct.hyperpolarizability[0].tensor
    np.testing.assert_allclose(rows["b"].values["hyperpolarizability"][0], beta, atol=1e-6)
    assert rows["b"].values["energy"] == pytest.approx(direct.energy, abs=1e-9)

    again = campaign.run(molecules, calculator="psi4")
    assert (again.done, again.computed) == (3, 0)


def test_a_runs_path_may_have_spaces_and_quotes(campaign):
    campaign.folder = RunFolder(campaign.path / 'O\'Neill, "second" $HOME run')
    molecules = campaign.waters("a", "b")
    assert campaign.run(molecules, calculator="none").done == 2
    assert_each_has_one_row(campaign, molecules)


def test_failures_are_filed_by_cause_and_the_rest_is_computed(campaign):
    names = ["crash", "stubborn-1", "stubborn-9", "wrong", "bug", "fine-1", "fine-2"]
    torn = Defect("set.xyz", "line 7", "torn", "expected 4 fields, got 2")
    molecules = [*campaign.waters(*names), torn]
    report = campaign.run(molecules)
    assert report.done == 3
    assert report.failed == {"input": 2, "crash": 1, "convergence": 1, "bug": 1}
    filed = {f.name: f for f in failures.read(campaign.folder.failures).values()}
    assert filed["crash"].tries == campaign.site.tries
    assert "SIGSEGV" in filed["crash"].message
    assert filed["wrong"].tries == 1
    assert filed["stubborn-9"].cause == "convergence"
    assert filed["torn"].message == "set.xyz, line 7 (torn): expected 4 fields, got 2"
    rows = {row.molecule.name: row for row in Dataset.open(campaign.folder.dataset)}
    assert rows["stubborn-1"].provenance["tries"] == 2

    again = campaign.run(molecules)
    assert again.computed == 0
    assert again.failed == report.failed

    failures.forget(campaign.folder.failures, ["convergence", "crash"])
    with_psi4 = campaign.run(molecules, calculator="psi4")
    assert with_psi4.computed == 2
    assert with_psi4.failed == {"input": 2, "bug": 1}


def test_an_error_of_the_settings_ends_the_campaign_at_once(campaign):
    with pytest.raises(SettingsError, match="no method is called HFF"):
        campaign.run(campaign.waters("misspelt-1", "misspelt-2", "misspelt-3"))
    assert not failures.read(campaign.folder.failures)


def test_a_molecule_that_kills_its_rank_is_found_and_the_others_are_done(campaign):
    molecules = campaign.waters("deadly", "fine-1", "fine-2", "fine-3")
    report = campaign.run(molecules)
    assert report.done == 3
    assert report.failed == {"crash": 1}
    assert_each_has_one_row(campaign, molecules[1:])


def test_faults_among_molecules_that_are_handed_out_together_cost_nobody_else(campaign):
    """Calculations of no length: after the first twenty, a rank is given several at a time."""
    names = [f"fine-{i}" for i in range(120)]
    for place, fault in ((50, "crash"), (60, "deadly"), (65, "stubborn-9"), (100, "wrong")):
        names[place] = fault
    molecules = campaign.waters(*names)
    report = campaign.run(molecules)
    assert report.failed == {"crash": 2, "convergence": 1, "input": 1}
    assert report.done == len(molecules) - 4
    assert_each_has_one_row(campaign, [m for m in molecules if m.name.startswith("fine")])
    filed = {f.name: f.tries for f in failures.read(campaign.folder.failures).values()}
    assert filed["stubborn-9"] == filed["crash"] == campaign.site.tries


def test_a_molecule_that_hangs_is_ended_and_filed_and_the_others_are_done(campaign):
    molecules = campaign.waters("fine-1", "hang", "fine-2")
    site = msgspec.structs.replace(campaign.site, hang_seconds=4, tries=1)
    report = campaign.run(molecules, site=site)
    assert (report.done, report.failed, report.left) == (2, {"hang": 1}, 0)
    assert_each_has_one_row(campaign, [molecules[0], molecules[2]])
    assert campaign.run(molecules, site=site).computed == 0


NAMES = [f"slow-0.2{i:02d}" for i in range(16)]


@pytest.mark.parametrize("victim", ["keeper", "generate_program", "launcher.py"])
def test_kill_9_of_any_process_loses_and_doubles_nothing(victim, campaign, wait_until):
    process = campaign.launch(NAMES)
    wait_until(lambda: campaign.rows_done() > 2)
    os.kill(campaign.processes(victim)[-1], signal.SIGKILL)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == (-signal.SIGKILL if victim == "launcher.py" else 0), output

    second = campaign.launch(NAMES)
    output, _ = second.communicate(timeout=60)
    assert second.returncode == 0, output
    assert_each_has_one_row(campaign, campaign.waters(*NAMES))
    assert not failures.read(campaign.folder.failures)


def test_a_full_disk_ends_it_with_one_clear_line_and_a_rerun_finishes(campaign):
    molecules = campaign.waters("full", *(f"slow-0.1{i}" for i in range(6)))
    with pytest.raises(ResourceError, match=r"cannot write .*; nothing half-written is left"):
        campaign.run(molecules)
    assert campaign.run(molecules, calculator="none").done == len(molecules)
    assert_each_has_one_row(campaign, molecules)


def test_two_campaigns_on_one_folder_the_second_refuses_and_a_killed_one_leaves_no_rank(
    campaign, wait_until
):
    process = campaign.launch(["slow-3600"])
    wait_until(lambda: list(campaign.folder.work.glob("*/progress.json")))
    with pytest.raises(PlatformError, match=f"in use by process {process.pid} on"):
        campaign.run(campaign.waters("a"))
    process.kill()
    wait_until(lambda: not campaign.processes("generate_program"))


def test_a_signal_ends_it_in_order_with_work_left(campaign, wait_until):
    process = campaign.launch([f"slow-0.5{i:02d}" for i in range(80)])
    wait_until(lambda: campaign.rows_done() > 2)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 85, output
    done = sum(len(keys) for keys in done_keys(campaign.folder.dataset))
    assert 2 <= done < 80
    assert f"done={done}," in output
    assert not campaign.processes("generate_program")


def test_a_molecule_that_cannot_end_before_the_walltime_is_not_started(campaign):
    # The cost model's prior, by hand: 40 s (N / 100)^2.5 with N = 160 and 287 functions.
    campaign.level = Level(method="B3LYP", basis="aug-cc-pV5Z")
    site = msgspec.structs.replace(campaign.site, walltime="00:10:00", margin=60.0)
    hydrogen = Molecule(np.array([1, 1]), np.array([[0, 0, 0], [0, 0, 0.74]]), name="130 s")
    (water,) = campaign.waters("558 s")
    report = campaign.run([water, hydrogen], site=site, calculator="none")
    assert (report.done, report.left) == (1, 1)
    assert_each_has_one_row(campaign, [hydrogen])
    assert campaign.run([water, hydrogen], calculator="none").left == 0


def test_a_walltime_that_cuts_a_molecule_off_counts_as_a_try(campaign):
    first, second = campaign.waters("slow-3600", "hang")
    key = result_key(first, campaign.level, campaign.request)
    campaign.folder.create().cut_off.write_text(f'{{"{key}": 1}}')
    site = msgspec.structs.replace(campaign.site, walltime="00:00:20", margin=10.0, tries=2)
    report = campaign.run([first, second], site=site)
    assert (report.done, report.failed, report.left) == (0, {"hang": 1}, 1)
    # and one in which nothing ended is told in figures
    site = msgspec.structs.replace(campaign.site, walltime="00:00:02", margin=1.99)
    with pytest.raises(ResourceError, match=r"within the walltime 00:00:02 .* hang, the shortest"):
        campaign.run([first, second], site=site)


def test_the_first_guess_alone_keeps_nothing_from_being_computed(campaign):
    campaign.level = Level(method="B3LYP", basis="aug-cc-pV5Z")  # 558 s by the prior
    site = msgspec.structs.replace(campaign.site, walltime="00:10:00", margin=60.0)
    assert campaign.run(campaign.waters("water"), site=site, calculator="none").done == 1


def test_kill_9_of_mpiexec_computes_no_row_twice(campaign, wait_until):
    process = campaign.launch(NAMES)
    wait_until(lambda: campaign.rows_done() > 2)
    (mpiexec,) = [p for p in campaign.processes("mpiexec -n") if p != process.pid]
    os.kill(mpiexec, signal.SIGKILL)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert_each_has_one_row(campaign, campaign.waters(*NAMES))
    assert not list(campaign.path.glob("hpcml-*"))  # scratch folders


def test_a_rank_whose_psi4_does_not_start_leaves_alone(campaign, monkeypatch):
    monkeypatch.setenv("FAULTY_STARTS", str(campaign.path / "starts"))
    (campaign.path / "starts").write_text("xx")
    report = campaign.run(campaign.waters("a", "b", "c"), calculator="faulty_start:compute")
    assert (report.done, report.left) == (3, 0)
