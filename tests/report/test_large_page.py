"""A data set of 13,000 molecules: sampled, said so, a small page."""

import json
from collections.abc import Callable
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import pytest

from hpcml.cluster.run_folder import RunFolder
from hpcml.molecules import read
from hpcml.report import build, collect
from hpcml.response.level import Request
from hpcml.store import Dataset, Row, Schema, ShardWriter

QUICKSTART = Path(__file__).parents[2] / "jobs" / "quickstart.xyz"
ROWS = 13_000


@pytest.mark.slow
def test_a_large_data_set_is_sampled(
    tmp_path: Path, write_relevance: Callable[[RunFolder, Dataset], None]
) -> None:
    run = RunFolder(tmp_path / "large").create()
    schema = Schema.for_request(Request(properties=("alpha", "shares")))
    worth = np.zeros(10)
    worth[[1, 6, 7, 8, 9]] = 1.5, 8.0, 6.0, 4.5, 3.0
    with ShardWriter(run.dataset, schema, "rank0", rows_per_shard=20_000) as writer:
        for row, molecule in enumerate(islice(cycle(list(read(QUICKSTART))), ROWS)):
            share = worth[molecule.numbers]
            values = {"alpha_iso": share.sum(keepdims=True), "share_alpha_iso": share}
            writer.append(Row(f"{row:032x}", molecule, values, {}))
    data = Dataset.open(run.dataset)
    run.model.mkdir()
    (run.model / "metrics.json").write_text(
        json.dumps({"errors": {"alpha_iso": {"unit": "a0^3", "target": {"name": "alpha_iso"}}}})
    )
    alpha = data.scalar("alpha_iso")
    noise = np.random.default_rng(1).normal(size=ROWS)
    parts = np.array(["train"] * 11_000 + ["validation"] * 1_000 + ["test"] * 1_000)
    lines = [f"{key},{part},{value},{value + error}" for key, part, value, error in
             zip(data.keys, parts, alpha, noise, strict=True)]  # fmt: skip
    heading = "key,part,reference,predicted"
    (run.model / "predictions.csv").write_text("\n".join([heading, *lines]))
    write_relevance(run, data)

    facts = collect(run, run.dataset)
    page = build(facts, run.report_page)
    assert page.stat().st_size < 3_000_000
    assert len(facts.gallery) <= 610
    text = page.read_text(encoding="utf-8")
    assert f"A sample: {len(facts.gallery)} of 13,000 molecules are here" in text
