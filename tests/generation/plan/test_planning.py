"""What is missing: keys, doubles, failures, records that are no molecules; and how much it is."""

import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcml.errors import InputError
from hpcml.generation.plan import cost
from hpcml.generation.plan.planning import Planner, done_keys
from hpcml.generation.plan.sorting_out import SortingOut
from hpcml.generation.protocol import wire
from hpcml.generation.protocol.queue_file import (
    CostClass,
    QueueEntry,
    QueueFile,
    QueueWriter,
    write_queue,
)
from hpcml.molecules import Defect, Molecule
from hpcml.response import Level, Request
from hpcml.store import Row, Schema, ShardWriter, result_key
from hpcml.store.rows import pack_keys, unpack_keys

LEVEL = Level(method="HF", basis="STO-3G")
REQUEST = Request()


def chain(length, shift=0.0):
    """A row of carbons: bigger is slower."""
    positions = np.zeros((length, 3))
    positions[:, 0] = 1.4 * np.arange(length) + shift * np.arange(length)
    return Molecule(np.full(length, 6), positions, name=f"C{length}")


def planned(molecules, done=(), failed=(), suspects=()):
    model = cost.fit(LEVEL, REQUEST, [], [])
    made = Planner(
        LEVEL,
        REQUEST,
        done=lambda: [pack_keys(sorted(done))],
        failed=failed,
        cost=model,
        hang_seconds=100.0,
        suspects=suspects,
    )
    return made.plan(molecules)


def test_each_molecule_is_sorted_out_once():
    molecules = [chain(n) for n in (1, 2, 3, 4)]
    keys = [result_key(m, LEVEL, REQUEST) for m in molecules]
    torn = Defect("f.xyz", "line 3", "", "torn")
    result = planned(
        [*molecules, molecules[3], torn], done={keys[0]}, failed={keys[1]}, suspects={keys[2]}
    )
    assert (result.total, result.done, result.failed, result.doubled) == (5, 1, 2, 1)
    assert [(e.name, e.suspect) for e in result.entries] == [("C4", False), ("C3", True)]
    assert [d.message for d in result.defects] == ["f.xyz, line 3: torn"]
    assert result.seconds == pytest.approx(sum(e.expected for e in result.entries))


def test_the_keys_of_a_data_set_are_found_and_an_empty_folder_has_none(tmp_path):
    assert list(done_keys(tmp_path)) == []
    schema = Schema.for_request(REQUEST)
    molecules = [chain(n) for n in (1, 2, 3)]
    keys = [result_key(m, LEVEL, REQUEST) for m in molecules]
    with ShardWriter(tmp_path, schema, "w", rows_per_shard=2) as writer:
        for key, molecule in zip(keys, molecules, strict=True):
            writer.append(Row(key, molecule, {}))
    assert {key for chunk in done_keys(tmp_path) for key in unpack_keys(chunk)} == set(keys)


def test_another_level_or_request_is_another_result():
    molecule = chain(2)
    keys = {
        result_key(molecule, level, request)
        for level in (
            LEVEL,
            Level(method="HF", basis="6-31G"),
            Level(method="B3LYP", basis="STO-3G"),
        )
        for request in (REQUEST, Request(properties=("dipole",)))
    }
    assert len(keys) == 6


PLAN_MANY = """
import numpy as np
from hpcml.errors import InputError
from hpcml.generation.plan import cost
from hpcml.generation.plan.planning import Planner
from hpcml.molecules import Molecule
from hpcml.response import Level, Request
level, request = Level(method="HF", basis="6-31+G(d)"), Request()
numbers = np.array([6] * 7 + [7, 8] + [1] * 9)
rng = np.random.default_rng(0)
molecules = (
    Molecule(numbers, rng.normal(size=(18, 3)), name=f"gdb_{i}") for i in range(20000)
)
model = cost.fit(level, request, [], [])
found = Planner(level, request, cost=model, hang_seconds=1.0).plan(molecules)
assert len(found.entries) == 20000
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(status["VmHWM"].split()[0])  # ru_maxrss would count the process that this one was forked from
"""


def test_twenty_thousand_molecules_fit_into_memory():
    """A fifth of 100,000 in a fifth of 1 GB, beside what importing takes."""
    printed = subprocess.run(
        [sys.executable, "-c", PLAN_MANY], capture_output=True, text=True, check=True
    ).stdout
    assert int(printed) * 1024 < 150e6 + 200e6


def test_what_an_earlier_plan_left_is_planned_again_without_the_molecules():
    molecules = [chain(n) for n in (1, 2, 3, 4)]
    keys = [result_key(m, LEVEL, REQUEST) for m in molecules]
    before = planned([*molecules, molecules[0]], done={keys[0]})
    made = Planner(
        LEVEL,
        REQUEST,
        done=lambda: [pack_keys([keys[0], keys[3]])],
        failed=[keys[1], "f.xyz: line 3"],
        cost=cost.fit(LEVEL, REQUEST, [15.0] * 50, [7.0] * 50),
        hang_seconds=100.0,
    )
    after = made.plan_again(before)
    assert (after.total, after.done, after.failed, after.doubled) == (4, 2, 1, 1)
    (left,) = after.entries
    assert (left.name, left.expected) == ("C3", pytest.approx(7.0, rel=0.01))


asked = st.lists(st.tuples(st.integers(0, 30), st.sampled_from([1.0, 2.0, 5.0])), max_size=60)
numbers = st.sets(st.integers(0, 30))


@settings(deadline=None)
@given(asked, numbers, numbers, st.sampled_from([0, 300, 10**9]))
def test_sorting_out_on_the_disk_finds_what_sets_in_memory_find(asked, done, failed, most_held):
    def key(number):
        return hashlib.md5(bytes([number])).digest()

    with tempfile.TemporaryDirectory() as folder:
        sorting = SortingOut(Path(folder), most_held=most_held)
        first = {}
        for number, seconds in asked:
            entry = QueueEntry(key(number).hex(), f"{number}", "", b"", seconds, 9.0, False, 1.0)
            first.setdefault(number, entry)
            sorting.add(key(number), CostClass.of(entry), wire.encode(entry))
        writer = QueueWriter(Path(folder) / "queue")
        chunks = [pack_keys([key(number).hex()]) for number in done]
        sorting.write(writer, done=lambda: chunks, failed={key(number) for number in failed})
        writer.close()
        assert [path.name for path in Path(folder).iterdir()] == ["queue"]
        found = list(QueueFile(writer.path))
    wanted = [entry for number, entry in first.items() if number not in done | failed]
    assert sorted(found, key=str) == sorted(wanted, key=str)
    assert [entry.expected for entry in found] == sorted((e.expected for e in wanted), reverse=True)
    assert sorting.total == len(first)
    assert sorting.doubled == len(asked) - len(first)
    assert sorting.done == len(done & first.keys())
    assert sorting.failed == len((failed - done) & first.keys())


def test_a_queue_that_is_not_whole_is_one_clear_line(tmp_path):
    path = tmp_path / "queue"
    write_queue(path, [QueueEntry("k", "", "", b"", 1.0, 9.0, False, 1.0)])
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(InputError, match="no whole queue"):
        QueueFile(path)
