"""How much of a known truth do explanations give back: Crippen's logP, benzene, and logic?

    python benchmarks/explanation_truth.py TASK DATASET [--molecules 4000] [--epochs 40]
    python benchmarks/explanation_truth.py TASK --graph-attribution FOLDER

DATASET is a folder that ``hpcml import`` makes, of which molecules are drawn; TASK is one of

crippen                 logP by Wildman and Crippen's contributions of atoms, as RDKit has them
benzene, logic7, logic8, logic10
    is there a benzene ring; are there a fluoride and a carbonyl; an unbranched alkane and a
    carbonyl; an amine, an ether and a benzene ring?  Sanchez-Lengeling et al., NeurIPS 2020; with
    --graph-attribution their SMILES and their split (FOLDER/TASK/TASK_smiles.csv and
    TASK_traintest_indices.npz) take the data set's place.  What is asked of a molecule is computed
    here by their SMARTS.

Weave and GraphConv learn it by ``hpcml run``, as a user would have it, and molecules that they
have not seen are explained by each rule.  Heavy atoms are judged, each with its hydrogens.

For Crippen by the overlap of Rasmussen, Christensen and Jensen (SciPost Chem. 2, 002 (2023)): the
cosine of the angle between explanation and contributions, as vectors over the heavy atoms of a
molecule, mean over molecules.  They report 0.47 for a graph convolutional network explained by
removing atoms and 0.54 for a random forest on fingerprints, on molecules of ZINC; and 0.75 for
the forest against a truth adapted to fingerprints: to each atom goes, for every bit that is gone
without it, the contributions of all atoms of that bit's environments.  The forest is trained
here on the same molecules as the networks, and everything is held against both truths.

For the others by the area under the ROC curve over the atoms of a molecule that has what is
asked for, for that of the right answers (any of several matches will do) that fits best.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tomli_w
import torch
from numpy.typing import NDArray
from rdkit import Chem, RDLogger
from rdkit.Chem import Crippen, rdFingerprintGenerator, rdMolDescriptors
from sklearn.ensemble import RandomForestRegressor
from sklearn.metrics import roc_auc_score

import hpcml
from hpcml.errors import InputError, SettingsError
from hpcml.models import collate, example, fit_references
from hpcml.molecules import Molecule, molecule_from_smiles, perceive, symbol
from hpcml.relevance import ExplainSettings, explain_by
from hpcml.training import load_model

RULES = ("gamma", "epsilon", "epsilon_gamma", "z_plus", "gradient_times_input",
         "integrated_gradients", "occlusion", "atomic_terms")  # fmt: skip
NETWORKS: dict[str, dict[str, object]] = {"weave": {"readout": "sum"}, "graphconv": {}}
CARBONYL = "[CX3]=O"
SMARTS = {
    "benzene": ("c1ccccc1",),
    "logic7": ("[FX1]", CARBONYL),
    "logic8": ("[R0;D2,D1][R0;D2][R0;D2,D1]", CARBONYL),
    "logic10": ("[NX3;H2]", "[OD2](C)C", "[cX3]1[cX3H][cX3H][cX3H][cX3H][cX3H]1"),
}
_MOST_ANSWERS = 256  # right answers of one molecule
_RADIUS, _BITS = 2, 2048


@dataclass(frozen=True)
class Known:
    """A molecule with hydrogens, its heavy atoms alone, and what is known of these.

    heavy      (n,) for each atom the heavy atom, of N, that it counts to
    label      of the molecule
    truth      (N,) contributions; None for a logic
    answers    right answers of a logic, (N,) bool each
    part       "train" or "test"
    """

    molecule: Molecule
    mol: Chem.Mol
    heavy: NDArray[np.int64]
    label: float
    truth: NDArray[np.float64] | None
    answers: list[NDArray[np.bool_]]


def known(task: str, molecule: Molecule) -> Known:
    """What the task asks of a molecule; InputError where its bonds are not perceived."""
    full = perceive(molecule)
    numbers = np.array([atom.GetAtomicNum() for atom in full.GetAtoms()])
    place = np.cumsum(numbers > 1) - 1
    heavy = np.array([
        place[atom.GetIdx()] if atom.GetAtomicNum() > 1
        else next((place[b.GetIdx()] for b in atom.GetNeighbors() if b.GetAtomicNum() > 1), -1)
        for atom in full.GetAtoms()
    ])  # fmt: skip
    if (heavy < 0).any():
        raise InputError("a hydrogen without a heavy atom")
    mol = Chem.RemoveHs(full)
    if mol.GetNumAtoms() != place[-1] + 1:
        raise InputError("a hydrogen that counts as heavy")
    if task == "crippen":
        parts = np.array([logp for logp, _ in rdMolDescriptors._CalcCrippenContribs(full)])
        return Known(molecule, mol, heavy, Crippen.MolLogP(full), np.bincount(heavy, parts), [])
    answers = right_answers(mol, SMARTS[task])
    return Known(molecule, mol, heavy, float(bool(answers)), None, answers)


def right_answers(mol: Chem.Mol, smarts: tuple[str, ...]) -> list[NDArray[np.bool_]]:
    """Atoms of any matches (one or more) of each pattern together; none where one has none."""
    of_pattern = []
    for pattern in smarts:
        matches = mol.GetSubstructMatches(Chem.MolFromSmarts(pattern))
        subsets = itertools.chain.from_iterable(
            itertools.combinations(matches, size) for size in range(1, len(matches) + 1)
        )
        of_pattern.append(list(itertools.islice(subsets, _MOST_ANSWERS)))
    found = []
    for combination in itertools.islice(itertools.product(*of_pattern), _MOST_ANSWERS):
        atoms = np.zeros(mol.GetNumAtoms(), dtype=bool)
        atoms[[i for matches in combination for match in matches for i in match]] = True
        found.append(atoms)
    return found


# ---------------------------------------------------------------------------- molecules


def drawn(task: str, folder: Path, count: int, seed: int) -> tuple[list[Known], list[Known]]:
    """Molecules to learn from and molecules to be judged by (a fifth); for a logic half of them
    have what is asked for, as far as the data set goes."""
    data = hpcml.open(folder)
    chosen: dict[bool, list[Known]] = {True: [], False: []}
    most = count if task == "crippen" else count // 2
    for row in np.random.default_rng(seed).permutation(len(data)).tolist():
        try:
            one = known(task, data.molecules[row])
        except InputError:
            continue
        mine = chosen[task != "crippen" and bool(one.answers)]
        if len(mine) < most:
            mine.append(one)
        if len(chosen[False]) == most and (task == "crippen" or len(chosen[True]) == most):
            break
    few = len(chosen[True]) if task != "crippen" else most
    found = chosen[True] + chosen[False][: max(few, 1) if task != "crippen" else most]
    if task != "crippen" and few < 20:
        raise SystemExit(f"{folder}: only {few} molecules have what {task} asks for")
    order = np.random.default_rng(seed + 1).permutation(len(found)).tolist()
    cut = len(order) // 5
    return [found[row] for row in order[cut:]], [found[row] for row in order[:cut]]


def published(task: str, folder: Path, count: int) -> tuple[list[Known], list[Known]]:
    """Molecules of graph-attribution in its own parts, at most ``count``, a fifth of them test."""
    with (folder / task / f"{task}_smiles.csv").open(newline="", encoding="utf-8") as file:
        smiles = [row["smiles"] for row in csv.DictReader(file)]
    with np.load(folder / task / f"{task}_traintest_indices.npz") as indices:
        parts = indices["train_index"].ravel(), indices["test_index"].ravel()
    found: list[list[Known]] = []
    for rows, most in zip(parts, (count - count // 5, count // 5), strict=True):
        mine: list[Known] = []
        for row in rows.tolist():
            try:
                mine.append(known(task, molecule_from_smiles(smiles[row])))
            except InputError:
                continue
            if len(mine) == most:
                break
        found.append(mine)
    return found[0], found[1]


# ------------------------------------------------------------------------------ networks


def trained(
    task: str, network: str, learning: list[Known], work: Path, *, epochs: int, seed: int
) -> Path:
    """The model folder of a network that ``hpcml run`` trained on the labels."""
    table = work / f"{network}.xyz"
    with table.open("w", encoding="utf-8") as file:
        for number, one in enumerate(learning):
            escaped = one.molecule.smiles.replace("\\", "\\\\")
            smiles = f' smiles="{escaped}"' if escaped else ""
            charge = f"charge={one.molecule.charge} multiplicity={one.molecule.multiplicity}"
            said = f"name=m{number} label={one.label!r} {charge}{smiles}"
            file.write(f"{len(one.molecule)}\nProperties=species:S:1:pos:R:3 {said}\n")
            for z, position in zip(one.molecule.numbers, one.molecule.positions, strict=True):
                file.write(f"{symbol(z)} {' '.join(map(repr, position.tolist()))}\n")
    data, campaign = work / f"{network}-data", work / f"{network}.toml"
    command = [sys.executable, "-m", "hpcml"]
    quietly([*command, "import", "table", str(table), "--to", str(data), "--target", "label"])
    target: dict[str, object] = {"name": "label"}
    target |= {"extensive": True} if task == "crippen" else {"yes_or_no": True}
    train = {
        "model": network, "hyperparameters": NETWORKS[network], "target": target, "ranks": 1,
        "epochs": epochs, "train": 0.9, "validation": 0.1, "batch_size": 32, "seed": seed,
    }  # fmt: skip
    campaign.write_text(tomli_w.dumps({"name": network, "dataset": str(data), "train": train}))
    quietly([*command, "train", str(campaign), "--run", str(work / network)])
    return work / network / "model"


def quietly(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")


def explained(
    model_folder: Path, rule: str, test: list[Known]
) -> Iterator[tuple[Known, float, NDArray[np.float64], NDArray[np.float64]]]:
    """Of each molecule that the network takes: prediction, and by heavy atom the relevance and
    the relevance with what the atom's own biases, mean and reference say."""
    model, _ = load_model(model_folder)
    dtype = next(model.parameters()).dtype
    for start in range(0, len(test), 64):
        some = test[start : start + 64]
        batch = collate([example(one.molecule, model.inputs) for one in some], dtype)
        found = explain_by(model, batch, ExplainSettings(rule=rule))
        ends = np.cumsum([len(one.molecule) for one in some])[:-1]
        with torch.no_grad():
            predicted = found.prediction.tolist()
        atoms, booked = (
            np.split(values.detach().numpy(), ends) for values in (found.atoms, found.booked)
        )
        for one, value, *vectors in zip(some, predicted, atoms, booked, strict=True):
            size = one.mol.GetNumAtoms()
            mine, whole = (np.bincount(one.heavy, vector, size) for vector in vectors)
            yield one, value, mine, whole


# -------------------------------------------------------------------------------- Crippen


def overlap(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """The cosine of the angle between two vectors; 0 where one vanishes."""
    size = float(np.linalg.norm(first) * np.linalg.norm(second))
    return float(first @ second) / size if size > 0 else 0.0


@dataclass(frozen=True)
class Bits:
    """A molecule's fingerprint.

    on       (bits,) 0 or 1
    atoms    bit -> (environments, N) which atoms belong to each environment that sets it
    """

    on: NDArray[np.int64]
    atoms: dict[int, NDArray[np.bool_]]

    def without(self, atom: int) -> list[int]:
        """The bits that have an environment with this atom, all of which go with it."""
        return [bit for bit, members in self.atoms.items() if members[:, atom].any()]


def fingerprint(mol: Chem.Mol) -> Bits:
    """Morgan's of radius 2 in 2,048 bits, and the atoms of each bit's environments."""
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=_RADIUS, fpSize=_BITS)
    extra = rdFingerprintGenerator.AdditionalOutput()
    extra.AllocateBitInfoMap()
    on = generator.GetFingerprintAsNumPy(mol, additionalOutput=extra).astype(np.int64)
    distances = Chem.GetDistanceMatrix(mol)
    atoms = {
        bit: np.array([distances[centre] <= radius for centre, radius in environments])
        for bit, environments in extra.GetBitInfoMap().items()
    }
    return Bits(on, atoms)


def adapted(truth: NDArray[np.float64], bits: Bits) -> NDArray[np.float64]:
    """(N,) the truth as a fingerprint can tell it: see the head of this file."""
    of_bit = {bit: float((members @ truth).sum()) for bit, members in bits.atoms.items()}
    return np.array([sum(of_bit[bit] for bit in bits.without(atom)) for atom in range(len(truth))])


def crippen(learning: list[Known], test: list[Known], folders: dict[str, Path]) -> None:
    fingerprints = [fingerprint(one.mol) for one in test]
    wide = [adapted(one.truth, bits) for one, bits in zip(test, fingerprints, strict=True)]
    print(
        f"\nOverlap with Crippen's contributions: {len(learning)} molecules learned, "
        f"{len(test)} asked"
    )
    print(f"{'':38}{'R2':>6}{'atoms':>16}{'with own bias':>16}{'adapted truth':>16}")

    def line(name: str, r2: float, *columns: list[float]) -> None:
        cells = "".join(f"{interval(np.array(column)):>16}" for column in columns)
        print(f"{name:38}{r2:6.2f}{cells}", flush=True)

    forest = RandomForestRegressor(200, min_samples_leaf=3, random_state=0)
    forest.fit([fingerprint(one.mol).on for one in learning], [one.label for one in learning])
    told, values = [], []
    for one, bits in zip(test, fingerprints, strict=True):
        versions = np.tile(bits.on, (len(one.truth) + 1, 1))
        for atom in range(len(one.truth)):
            versions[atom + 1, bits.without(atom)] = 0
        predicted = forest.predict(versions)
        values.append(predicted[0])
        told.append(predicted[0] - predicted[1:])
    mine = [overlap(one.truth, vector) for one, vector in zip(test, told, strict=True)]
    theirs = [overlap(truth, vector) for truth, vector in zip(wide, told, strict=True)]
    line("random forest, removed bits", r_squared(values, test), mine, [np.nan], theirs)
    for name, folder in folders.items():
        for rule in RULES:
            try:
                rows = list(explained(folder, rule, test))
            except SettingsError:
                continue  # no atomic terms
            line(
                f"{name}, {rule}",
                r_squared([value for _, value, _, _ in rows], test),
                [overlap(one.truth, atoms) for one, _, atoms, _ in rows],
                [overlap(one.truth, booked) for one, _, _, booked in rows],
                [overlap(truth, atoms) for truth, (_, _, atoms, _) in zip(wide, rows, strict=True)],
            )
    equal = [overlap(one.truth, np.ones(len(one.truth))) for one in test]
    of_wide = [overlap(truth, np.ones(len(truth))) for truth in wide]
    line("control: all atoms alike", np.nan, equal, [np.nan], of_wide)
    worth = fit_references(
        [one.molecule.numbers for one in learning], np.array([[one.label] for one in learning])
    )
    by_element = [
        np.bincount(one.heavy, [worth.get(z, (0.0,))[0] for z in one.molecule.numbers.tolist()])
        for one in test
    ]
    line(
        "control: elements, least squares",
        r_squared([float(vector.sum()) for vector in by_element], test),
        [overlap(one.truth, vector) for one, vector in zip(test, by_element, strict=True)],
        [np.nan],
        [overlap(truth, vector) for truth, vector in zip(wide, by_element, strict=True)],
    )
    random = np.random.default_rng(0)
    noise = [overlap(one.truth, random.normal(size=len(one.truth))) for one in test]
    line("control: noise", np.nan, noise, [np.nan], [np.nan])


def r_squared(values: list[float], test: list[Known]) -> float:
    labels = np.array([one.label for one in test])
    return 1.0 - float(np.square(np.array(values) - labels).mean() / labels.var())


def interval(values: NDArray[np.float64]) -> str:
    """Mean and half of its 95 % interval."""
    known_values = values[np.isfinite(values)]
    if not len(known_values):
        return ""
    half = 1.96 * known_values.std() / len(known_values) ** 0.5
    return f"{known_values.mean():.2f} +- {half:.2f}"


# --------------------------------------------------------------------------------- logic


def logic(task: str, learning: list[Known], test: list[Known], folders: dict[str, Path]) -> None:
    having = [one for one in test if one.answers and not one.answers[0].all()]
    print(f"\n{task}: {len(learning)} molecules learned, {len(test)} asked, {len(having)} have it")
    print(f"{'':38}{'AUROC of molecules':>20}{'AUROC of atoms':>18}")

    def area(one: Known, vector: NDArray[np.float64]) -> float:
        answers = (answer for answer in one.answers if not answer.all())
        return max(roc_auc_score(answer, vector) for answer in answers)

    def line(name: str, molecules: str, areas: list[float]) -> None:
        print(f"{name:38}{molecules:>20}{interval(np.array(areas)):>18}", flush=True)

    for name, folder in folders.items():
        for rule in RULES:
            try:
                rows = list(explained(folder, rule, test))
            except SettingsError:
                continue
            score = roc_auc_score([one.label for one, *_ in rows], [value for _, value, *_ in rows])
            mine = [area(one, atoms) for one, _, atoms, _ in rows
                    if one.answers and not one.answers[0].all()]  # fmt: skip
            line(f"{name}, {rule}", f"{score:.3f}", mine)
    random = np.random.default_rng(0)
    line(
        "control: noise", "", [area(one, random.normal(size=len(one.answers[0]))) for one in having]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("task", choices=["crippen", *SMARTS])
    parser.add_argument("dataset", type=Path, nargs="?")
    parser.add_argument("--graph-attribution", type=Path, metavar="FOLDER")
    parser.add_argument("--molecules", type=int, default=4000, help="a fifth of them is asked")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if (options.dataset is None) == (options.graph_attribution is None):
        parser.error("one of DATASET and --graph-attribution FOLDER")
    RDLogger.DisableLog("rdApp.*")
    if options.graph_attribution is not None:
        learning, test = published(options.task, options.graph_attribution, options.molecules)
    else:
        learning, test = drawn(options.task, options.dataset, options.molecules, options.seed)
    with tempfile.TemporaryDirectory() as work:
        make: Callable[[str], Path] = lambda network: trained(  # noqa: E731
            options.task, network, learning, Path(work), epochs=options.epochs, seed=options.seed
        )
        folders = {network: make(network) for network in options.networks}
        if options.task == "crippen":
            crippen(learning, test, folders)
        else:
            logic(options.task, learning, test, folders)


if __name__ == "__main__":
    main()
