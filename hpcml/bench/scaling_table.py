"""What a scaling bench found: a table, a figure, and a file that another run is compared with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import msgspec

from hpcml.bench.scaling_runs import Point, efficiency
from hpcml.errors import InputError
from hpcml.files import write_whole


def table(points: Sequence[Point], before: Sequence[Point] = ()) -> str:
    """A line for each point; with ``before``, how its efficiency has changed since then."""
    lines = [
        f"{'stage':10}{'kind':8}{'nodes':>6}{'ranks':>6}{'work':>8}{'s':>9}{'start s':>9}"
        f"{'efficiency':>12}{'95 % interval':>17}" + (f"{'before':>9}" if before else "")
    ]
    known = {(p.stage, p.kind, p.nodes, p.ranks): p for p in before}
    for point in points:
        mean, low, high = efficiency(points, point)
        interval = f"{low:.3f} to {high:.3f}" if math.isfinite(low) else "one repeat"
        line = (
            f"{point.stage:10}{point.kind:8}{point.nodes:6}{point.ranks:6}{point.work:8}"
            f"{_mean(point.seconds):9.1f}{_mean(point.starting):9.1f}{mean:12.3f}{interval:>17}"
        )
        other = known.get((point.stage, point.kind, point.nodes, point.ranks))
        if before:
            line += f"{efficiency(before, other)[0]:9.3f}" if other else f"{'-':>9}"
        lines.append(line)
    return "\n".join(lines)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def write(points: Sequence[Point], path: Path) -> None:
    """The points as JSON."""
    write_whole(path, msgspec.json.format(msgspec.json.encode(points)))


def read(path: Path) -> list[Point]:
    """Inverse of ``write``; InputError for anything else."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[Point])
    except (OSError, msgspec.DecodeError) as error:
        raise InputError(f"{path}: is no file of `hpcml bench scaling`: {error}") from None


def draw(points: Sequence[Point], path: Path) -> None:
    """Efficiency against ranks, with its interval; the dashed line is the ideal."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.0, 3.4), layout="constrained")
    axes = figure.subplots()
    for stage, kind in dict.fromkeys((p.stage, p.kind) for p in points):
        alike = [p for p in points if (p.stage, p.kind) == (stage, kind)]
        found = [efficiency(points, p) for p in alike]
        errors = [high - mean if math.isfinite(high) else 0.0 for mean, _, high in found]
        axes.errorbar(
            [p.ranks for p in alike],
            [mean for mean, _, _ in found],
            errors,
            marker="o",
            capsize=3,
            label=f"{stage}, {kind}",
        )
    axes.axhline(1.0, linestyle="--", linewidth=0.8, color="0.5")
    axes.set(xlabel="ranks", ylabel="efficiency", xscale="log", ylim=(0.0, 1.15))
    axes.set_xticks(sorted({p.ranks for p in points}))
    axes.get_xaxis().set_major_formatter("{x:.0f}")
    axes.minorticks_off()
    axes.legend(frameon=False)
    figure.savefig(path)
