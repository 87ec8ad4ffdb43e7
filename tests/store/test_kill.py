"""A write loop is killed at 200 random moments; no row that was committed is ever missing."""

import os
import random
import signal
import time

from hpcml.store import Dataset, ShardWriter, recover, verify

KILLS = 200
KILLS_PER_FOLDER = 20
ROWS = 1000


def write_until_killed(folder, schema, rows, report):
    """What a rank does: recover, see what is done, compute the rest, tell each commit."""
    with ShardWriter(folder, schema, "rank0", rows_per_shard=3) as writer:
        done = set(Dataset.open(folder).keys) if (folder / "shards").exists() else set()
        for number, row in enumerate(rows):
            if row.key not in done:
                writer.append(row)
                os.write(report, number.to_bytes(4, "little"))


def test_two_hundred_kills(quick_path, schema, make_row):
    rows = [make_row(number) for number in range(ROWS)]  # more than are ever written
    moments = random.Random(20240607)
    kills = 0
    while kills < KILLS:
        folder = quick_path / str(kills)
        folder.mkdir()
        told: set[str] = set()
        for _ in range(KILLS_PER_FOLDER):
            told |= killed_run(folder, schema, rows, moments)
            kills += 1
            if list(folder.glob("manifest*")):
                Dataset.open(folder)  # readable as it lies there, whatever was cut short
        recover(folder)
        assert told <= set(Dataset.open(folder).keys)
        report = verify(folder)
        assert report.ok, str(report)
        assert report.duplicates == 0
        assert not list((folder / "journal").iterdir())
        assert told


def killed_run(folder, schema, rows, moments):
    """Run the write loop and kill it some milliseconds after a few commits, or before the first:
    keys that it told committed."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(read_end)
            write_until_killed(folder, schema, rows, write_end)
            os._exit(0)
        finally:
            os._exit(1)
    os.close(write_end)
    told = b""
    for _ in range(moments.randrange(8)):
        told += os.read(read_end, 4)
    time.sleep(moments.uniform(0.0, 0.015))
    os.kill(child, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (-signal.SIGKILL, 0), "the write loop failed before it was killed"
    while block := os.read(read_end, 1 << 16):
        told += block
    os.close(read_end)
    numbers = [told[i : i + 4] for i in range(0, len(told) - 3, 4)]
    return {rows[int.from_bytes(number, "little")].key for number in numbers}
