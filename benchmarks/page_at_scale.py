"""What does the report page of a large run cost: processor time, memory, bytes?

    python benchmarks/page_at_scale.py [--molecules 130000] [--keep DIR]

The run is made up: the quickstart's molecules over and over, an additive property, predictions
with errors drawn at random, relevances.  Writing it is not timed and takes as long again as the
page some twenty times.  The demand: a page of 130,000 under 6 MB in under a minute, and it says
that it is a sample.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path

import numpy as np

from hpcml.cluster.run_folder import RunFolder
from hpcml.molecules import read
from hpcml.relevance import LEDGER
from hpcml.report import build, collect
from hpcml.response.level import Request
from hpcml.store import Dataset, Row, Schema, ShardWriter, shards

MOLECULES = Path(__file__).parents[1] / "jobs" / "quickstart.xyz"
WORTH = {1: 1.5, 6: 8.0, 7: 6.0, 8: 4.5, 9: 3.0}  # bohr^3
NOISE = 0.5  # bohr^3


def write_dataset(run: RunFolder, molecules: int) -> Dataset:
    schema = Schema.for_request(Request(properties=("alpha", "shares")))
    with ShardWriter(run.dataset, schema, "benchmark", rows_per_shard=20_000) as writer:
        for row, molecule in enumerate(islice(cycle(list(read(MOLECULES))), molecules)):
            share = np.array([WORTH[number] for number in molecule.numbers.tolist()])
            values = {"alpha_iso": share.sum(keepdims=True), "share_alpha_iso": share}
            writer.append(Row(f"{row:032x}", molecule, values, {}))
    return Dataset.open(run.dataset)


def write_model(run: RunFolder, data: Dataset) -> None:
    """The files of a model that a page is made of: errors, and each molecule's prediction."""
    run.model.mkdir()
    told = {"unit": "a0^3", "target": {"name": "alpha_iso"}}
    (run.model / "metrics.json").write_text(json.dumps({"errors": {"alpha_iso": told}}))
    reference = data.scalar("alpha_iso")
    drawn = np.random.default_rng(1)
    predicted = reference + drawn.normal(scale=NOISE, size=len(data))
    parts = drawn.choice(["train", "validation", "test"], size=len(data), p=[0.8, 0.1, 0.1])
    rows = zip(data.keys, parts, reference, predicted, strict=True)
    lines = ["key,part,reference,predicted", *(",".join(map(str, row)) for row in rows)]
    (run.model / "predictions.csv").write_text("\n".join(lines))


def write_relevance(run: RunFolder, data: Dataset) -> None:
    about = {
        "identity": "benchmark", "model": "weave", "target": '{"name": "alpha_iso"}',
        "unit": "a0^3", "rule": "epsilon",
    }  # fmt: skip
    for info in data.shards:
        shard = data.shard(info.name)
        columns = {
            "key": shard.column("key"),
            "prediction": shard.scalar("alpha_iso"),
            "ledger": np.zeros((len(shard), len(LEDGER))),
            "atom_offsets": shard.atom_offsets,
            "relevance": np.array([WORTH[number] for number in shard.column("numbers").tolist()]),
        }
        shards.write(run.relevance, info.name, columns, about | {"source": info.checksum})


def measure(folder: Path, molecules: int) -> None:
    run = RunFolder(folder).create()
    data = write_dataset(run, molecules)
    write_model(run, data)
    write_relevance(run, data)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begun = time.process_time()
    facts = collect(run, run.dataset)
    page = build(facts, run.report_page)
    seconds = time.process_time() - begun
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        f"{molecules} molecules, {len(facts.gallery)} of them in the gallery: "
        f"{seconds:.1f} s of processor time, {page.stat().st_size / 1e6:.2f} MB of page, "
        f"{memory / 1e6:.2f} GB of memory at most ({before / 1e6:.2f} before)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--molecules", type=int, default=130_000)
    parser.add_argument("--keep", type=Path, help="a new folder for the run and its page")
    options = parser.parse_args()
    if options.keep is not None:
        measure(options.keep, options.molecules)
        return
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder) / "large", options.molecules)


if __name__ == "__main__":
    main()
