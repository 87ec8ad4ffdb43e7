"""What is missing: keys, doubles, failures, records that are no molecules; and how much it is."""

import subprocess
import sys

import numpy as np
import pytest

from hpcml.generation.plan import cost
from hpcml.generation.plan.planning import done_keys, plan
from hpcml.molecules import Defect, Molecule
from hpcml.response import Level, Request
from hpcml.store import Row, Schema, ShardWriter, result_key

LEVEL = Level(method="HF", basis="STO-3G")
REQUEST = Request()


def chain(length, shift=0.0):
    """A row of carbons: bigger is slower."""
    positions = np.zeros((length, 3))
    positions[:, 0] = 1.4 * np.arange(length) + shift * np.arange(length)
    return Molecule(np.full(length, 6), positions, name=f"C{length}")


def planned(molecules, done=(), failed=(), suspects=()):
    model = cost.fit(LEVEL, REQUEST, [], [])
    return plan(
        molecules,
        LEVEL,
        REQUEST,
        done=done,
        failed=failed,
        cost=model,
        hang_seconds=100.0,
        suspects=suspects,
    )


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
    assert done_keys(tmp_path) == set()
    schema = Schema.for_request(REQUEST)
    molecules = [chain(n) for n in (1, 2, 3)]
    keys = [result_key(m, LEVEL, REQUEST) for m in molecules]
    with ShardWriter(tmp_path, schema, "w", rows_per_shard=2) as writer:
        for key, molecule in zip(keys, molecules, strict=True):
            writer.append(Row(key, molecule, {}))
    assert done_keys(tmp_path) == set(keys)


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
from hpcml.generation.plan import cost
from hpcml.generation.plan.planning import plan
from hpcml.molecules import Molecule
from hpcml.response import Level, Request
level, request = Level(method="HF", basis="6-31+G(d)"), Request()
numbers = np.array([6] * 7 + [7, 8] + [1] * 9)
rng = np.random.default_rng(0)
molecules = (
    Molecule(numbers, rng.normal(size=(18, 3)), name=f"gdb_{i}") for i in range(20000)
)
model = cost.fit(level, request, [], [])
found = plan(molecules, level, request, done=(), failed=(), cost=model, hang_seconds=1.0)
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
