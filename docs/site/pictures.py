"""The pictures of docs/relevance.md, drawn from a network that is trained for them.

    python docs/site/pictures.py [--epochs 60]

One thread, some minutes: a DTNN learns the polarizability of jobs/study/small (Hartree-Fock,
6-31+G(d), with each atom's share), without references of the elements, so that all it says is its
own, and is asked about molecules that it has not seen.  Written into docs/pictures/.
"""

import argparse
import os
import re
import tempfile
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import matplotlib as mpl

mpl.use("svg")
import matplotlib.pyplot as plt
import numpy as np
import torch

import hpcml
from hpcml.interface import OpenedDataset, TrainedNetwork
from hpcml.models import collate, example
from hpcml.relevance import LEDGER, explain
from hpcml.report.drawings import molecule_drawing
from hpcml.training import TrainSettings
from hpcml.training.model_folder import ModelFolder
from hpcml.training.splits import read_split

ROOT = Path(__file__).resolve().parents[2]
PICTURES = ROOT / "docs/pictures"
UP, DOWN, PLAIN = "#d55e00", "#0072b2", "#7f7f7f"
RULES = ("epsilon", "gamma", "gradient_times_input")
SIZE = 200  # of a drawn molecule, pixels


def one_neuron() -> None:
    """z = w1 a1 + w2 a2 + w3 a3 + b, and what three rules make of it."""
    contributions, bias, gamma = np.array([3.0, 2.0, -1.0]), 0.5, 1.0
    z = contributions.sum() + bias
    weighted = contributions * (1 + gamma * (contributions > 0))
    with_gamma = weighted * z / (weighted.sum() + bias * (1 + gamma))
    squares = np.array([4.0, 1.0, 1.0])  # w-square looks at weights alone
    shares = {"epsilon": contributions, "gamma = 1": with_gamma, "w-square": z * squares / 6}
    figure, axes = plt.subplots(1, 3, figsize=(7.2, 2.3), sharey=True, layout="constrained")
    for axis, (rule, values) in zip(axes, shares.items(), strict=True):
        to_bias = z - values.sum()
        bars = [*values, to_bias]
        colours = [UP if value > 0 else DOWN for value in values] + [PLAIN]
        drawn = axis.bar(["a₁", "a₂", "a₃", "bias"], bars, color=colours, width=0.65)
        axis.bar_label(drawn, [f"{value:+.2f}" for value in bars], fontsize=8, padding=2)
        axis.axhline(0, color="black", linewidth=0.8)
        axis.set_title(f"{rule}: adds up to {sum(bars):.1f}", fontsize=9)
        axis.set_ylim(-1.8, 4.1)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("of z = 4.5")
    _save(figure, "one_neuron.svg")


def account(network: TrainedNetwork, molecule: hpcml.Molecule, text: str) -> None:
    """A prediction taken apart: atoms one after another, then the ledger, down to nothing left."""
    model = network.ensemble.models[0].double()
    batch = collate([example(molecule, model.inputs)], torch.float64)
    found = explain(model, batch, "epsilon")
    atoms = found.atoms.detach().numpy()
    booked = dict(zip(LEDGER, found.ledger.detach().numpy()[0], strict=True))
    names = [f"{symbol}{number + 1}" for number, symbol in enumerate(molecule.symbols)]
    steps = [*zip(names, atoms, strict=True), *((k, v) for k, v in booked.items() if abs(v) > 1e-9)]
    values = np.array([value for _, value in steps])
    starts = np.concatenate([[0.0], np.cumsum(values)[:-1]])
    colours = [UP if value > 0 else DOWN for value in values[: len(atoms)]]
    colours += [PLAIN] * (len(steps) - len(atoms))
    figure, axis = plt.subplots(figsize=(7.2, 2.8), layout="constrained")
    axis.bar(range(len(steps)), values, bottom=starts, color=colours, width=0.75)
    prediction = float(found.prediction.detach()[0])
    axis.bar(len(steps), prediction, color="black", width=0.75)
    axis.axhline(0, color="black", linewidth=0.8)
    axis.set_xticks(range(len(steps) + 1), [*(name for name, _ in steps), "total"], fontsize=8)
    axis.set_ylabel("polarizability, a₀³")
    left = prediction - values.sum()
    axis.set_title(f"{text}: {prediction:.2f} a₀³; left over: {left:.0e}", fontsize=9)
    axis.spines[["top", "right"]].set_visible(False)
    _save(figure, "account.svg")


def molecules_side_by_side(network: TrainedNetwork, data: OpenedDataset) -> None:
    """Rows of molecules: by several rules, and the share that the physics gives."""
    rows: dict[str, list[np.ndarray]] = {}
    for rule in RULES:
        explained = network.explain(data.molecules, rule=rule)
        values = explained.atoms if rule == "gradient_times_input" else explained.booked
        rows[rule.replace("_", " ")] = list(values)
        scale = [float(np.median(explained.cancellation))]
        print(f"{rule}: median cancellation {scale[0]:.2f}")
    rows["share (physics)"] = [data[row].values["share_alpha_iso"] for row in range(len(data))]
    parts = []
    for line, (title, values) in enumerate(rows.items()):
        top = line * (SIZE + 6)
        said = f"<text x='6' y='{top + SIZE / 2}' font-size='14'>{title}</text>"
        parts.append(f"<g font-family='sans-serif' fill='black'>{said}</g>")
        for column, (molecule, one) in enumerate(zip(data.molecules, values, strict=True)):
            svg = molecule_drawing(
                molecule,
                one - one.mean(),
                max(float(np.abs(one - one.mean()).max()), 1e-9),
                unit="a0^3",
                name=f"m{line}-{column}",
                width=SIZE,
                height=SIZE,
            )
            place = f"<svg x='{150 + column * SIZE}' y='{top}' "
            parts.append(re.sub(r"^.*?<svg ", place, svg, count=1, flags=re.DOTALL))
    width, height = 150 + SIZE * len(data), (SIZE + 6) * len(rows)
    whole = (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' "
        f"width='{width}' height='{height}'>{''.join(parts)}</svg>\n"
    ).replace("currentColor", "black")
    (PICTURES / "molecules.svg").write_text(whole, encoding="utf-8")


def _save(figure: plt.Figure, name: str) -> None:
    with mpl.rc_context({"svg.hashsalt": "hpcml", "svg.fonttype": "none"}):
        figure.savefig(PICTURES / name, metadata={"Date": None})
    plt.close(figure)


def main() -> None:
    """Draw all of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=60)
    epochs = parser.parse_args().epochs
    PICTURES.mkdir(exist_ok=True)
    one_neuron()
    data = hpcml.open(ROOT / "jobs/study/small")
    settings = TrainSettings(
        model="dtnn",
        scaling="standardize",
        learning_rate=3e-3,
        batch_size=16,
        epochs=epochs,
    )
    with tempfile.TemporaryDirectory() as folder:
        network = hpcml.train(data, folder, settings=settings)
        error = network.metrics["errors"]["alpha_iso"]
        print("errors", error)
        test = set(read_split(ModelFolder(Path(folder)).split).test)
        score = hpcml.reasons_score(network, data, rule="epsilon")
        print("score", score)
        unseen = data.subset(np.isin(data.keys, list(test)))
        sizes = [len(one.symbols) for one in unseen.molecules]
        different = [unseen.molecules[row].smiles for row in np.argsort(sizes)]
        print(len(unseen), different[-12:])
        chosen = unseen.filter(
            lambda one: {7, 8} & set(one.numbers.tolist()) and 9 <= len(one.symbols) <= 14
        )[:4]
        molecules_side_by_side(network, chosen)
        first = chosen.molecules[0]
        account(network, first, f"{first.smiles}, by epsilon")


if __name__ == "__main__":
    main()
