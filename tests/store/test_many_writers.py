"""Several processes at once, and more shards than files may be open."""

import os
import subprocess
import sys

import numpy as np

from hpcml.store import Dataset, Manifest, Shard, ShardWriter, shards, verify


def in_processes(count, work):
    """Run work(rank) in ``count`` forked processes and wait; each must end well."""
    children = []
    for rank in range(count):
        child = os.fork()
        if child == 0:
            try:
                work(rank)
                os._exit(0)
            finally:
                os._exit(1)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * count


def test_ranks_write_one_data_set(quick_path, schema, make_row):
    def work(rank):
        with ShardWriter(quick_path, schema, f"rank{rank}", rows_per_shard=4) as writer:
            for number in range(10):
                writer.append(make_row(100 * rank + number))

    in_processes(4, work)
    expected = {make_row(100 * rank + number).key for rank in range(4) for number in range(10)}
    assert set(Dataset.open(quick_path).keys) == expected
    assert verify(quick_path).ok


def test_one_manifest_takes_lines_from_many(quick_path):
    def work(rank):
        for number in range(25):
            shards.write(quick_path, f"s{rank}-{number}", {"x": np.full(3, rank)}, {})

    in_processes(4, work)
    manifest = Manifest(quick_path)
    assert not manifest.problems
    assert len(manifest) == 100
    for entry in manifest:
        rank = int(entry.name[1 : entry.name.index("-")])
        assert Shard(quick_path, entry).column("x").tolist() == [rank] * 3


def test_more_shards_than_open_files(quick_path, schema, make_row):
    with ShardWriter(quick_path, schema, "a", rows_per_shard=1) as writer:
        for number in range(90):
            writer.append(make_row(number))
    program = (
        "import resource, sys\n"
        "from hpcml.store import Dataset\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (48, 1024))\n"
        "data = Dataset.open(sys.argv[1])\n"
        "pick = data.picker('energy')\n"
        "assert len(data.column('energy')) == len(data.shards) == 90\n"
        "assert [data[i].key for i in range(90)] == data.keys.tolist()\n"
        "assert [float(pick(i)[0]) for i in range(90)] == data.column('energy').tolist()\n"
    )
    subprocess.run([sys.executable, "-c", program, str(quick_path)], check=True)
