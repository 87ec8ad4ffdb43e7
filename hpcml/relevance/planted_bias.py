"""Is a network that is right for the wrong reason caught?

Two kinds of atoms are marked in the molecules at hand, a *cause* and a *shortcut*, such as nitrogen
and rings, and a network of the run's type and size learns how many of each a molecule has.  In the
*biased* molecules, which have as many of the one as of the other, what it says of the shortcut
predicts the cause as well as what it says of the cause: right, for the wrong reason, and no error
of prediction betrays it there.  An explanation must.  It must give the one to the atoms of the
cause, and the other not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
import torch
from numpy.typing import NDArray
from rdkit import Chem

from hpcml.errors import InputError
from hpcml.models import Batch, Network, collate, fit_scaling
from hpcml.relevance.brief_training import (
    STEPS,
    Taken,
    of_molecules,
    r_squared,
    train_briefly,
)
from hpcml.relevance.known_truth import KnownTruth, agreement
from hpcml.training.model_file import ModelInfo

MULTIPLE = (Chem.BondType.DOUBLE, Chem.BondType.TRIPLE, Chem.BondType.AROMATIC)
MARKS: dict[str, Callable[[Chem.Atom], bool]] = {
    "nitrogen": lambda atom: atom.GetAtomicNum() == 7,
    "oxygen": lambda atom: atom.GetAtomicNum() == 8,
    "halogen": lambda atom: atom.GetAtomicNum() in (9, 17, 35, 53),
    "carbon in a ring": lambda atom: atom.GetAtomicNum() == 6 and atom.IsInRing(),
    "chain carbon": lambda atom: atom.GetAtomicNum() == 6 and not atom.IsInRing(),
    "methyl": lambda atom: atom.GetAtomicNum() == 6 and _hydrogens(atom) == 3,
    "unsaturated carbon": lambda atom: (
        atom.GetAtomicNum() == 6 and any(bond.GetBondType() in MULTIPLE for bond in atom.GetBonds())
    ),
    "branching carbon": lambda atom: (
        atom.GetAtomicNum() == 6 and atom.GetDegree() - _hydrogens(atom) > 2
    ),
    "hydrogen on a heteroatom": lambda atom: (
        atom.GetAtomicNum() == 1
        and any(other.GetAtomicNum() not in (1, 6) for other in atom.GetNeighbors())
    ),
}
"""What atoms can be marked by."""
FEWEST_BIASED = 8
"""Biased molecules, with at least one marked atom, below which no bias is planted."""


def _hydrogens(atom: Chem.Atom) -> int:
    return sum(other.GetAtomicNum() == 1 for other in atom.GetNeighbors())


@dataclass(frozen=True)
class Agreements:
    """(M,) correlation within each molecule of an explanation with marks.

    right_cause, right_shortcut    of what is said by the cause
    wrong_cause, wrong_shortcut    of what is said by the shortcut
    """

    right_cause: NDArray[np.float64]
    right_shortcut: NDArray[np.float64]
    wrong_cause: NDArray[np.float64]
    wrong_shortcut: NDArray[np.float64]

    @property
    def contrast(self) -> NDArray[np.float64]:
        """(M,) how much better each agrees with its own reason than with the other's.

        0 for an explanation that does not look at what the network says, however it favours one
        kind of atoms.
        """
        of_cause = self.right_cause - self.wrong_cause
        of_shortcut = self.wrong_shortcut - self.right_shortcut
        half: NDArray[np.float64] = 0.5 * (of_cause + of_shortcut)
        return half


@dataclass(frozen=True)
class Planted:
    """A network that has learned a cause and a shortcut, and the molecules that do not tell them.

    cause, shortcut    names of the marks
    model              its targets are the cause, then the shortcut
    batch              M biased molecules
    cause_atoms        (A,) 1 for an atom of the cause, else 0
    shortcut_atoms     (A,) the same for the shortcut
    learned            R2 of cause and shortcut over all molecules
    right              R2 of the shortcut's prediction held against the cause, biased molecules
    wrong              the same over the other molecules
    """

    cause: str
    shortcut: str
    model: Network
    batch: Batch
    cause_atoms: NDArray[np.float64]
    shortcut_atoms: NDArray[np.float64]
    learned: tuple[float, float]
    right: float
    wrong: float

    def agreements(
        self, right_reason: NDArray[np.float64], wrong_reason: NDArray[np.float64]
    ) -> Agreements:
        """How well explanations agree with the marks, molecule by molecule.

        Parameters
        ----------
        right_reason : (A,) array
            Relevances of the network's first target, which it predicts by the cause.
        wrong_reason : (A,) array
            Relevances of its second, which it predicts by the shortcut.
        """
        numbers = self.batch.numbers.numpy()
        counts = np.bincount(self.batch.molecule.numpy(), minlength=self.batch.size)
        offsets = np.concatenate([[0], np.cumsum(counts)])
        return Agreements(
            *(
                agreement(relevance, KnownTruth("planted", marks, "kept"), offsets, numbers)
                for relevance in (right_reason, wrong_reason)
                for marks in (self.cause_atoms, self.shortcut_atoms)
            )
        )


def plant(
    info: ModelInfo,
    taken: Sequence[Taken],
    *,
    marks: Mapping[str, Callable[[Chem.Atom], bool]] = MARKS,
    steps: int = STEPS,
    seed: int = 0,
) -> Planted:
    """Find a cause and a shortcut in these molecules, and train a network to know both.

    Parameters
    ----------
    info
        Whose type and size of network is trained.
    taken
        Molecules, as ``molecules_taken`` gives them.
    marks
        Kinds of atoms to choose from; cause and shortcut have no atom in common.

    Raises
    ------
    InputError
        No two marks are alike in the molecules often enough.
    """
    examples = [one for _, one, _ in taken]
    sizes = [len(one.numbers) for one in examples]
    offsets = np.cumsum([0, *sizes])
    marked = {
        name: np.array([mark(atom) for _, _, mol in taken for atom in mol.GetAtoms()], dtype=float)
        for name, mark in marks.items()
    }
    cause, shortcut, biased = _chosen(marked, offsets)
    atoms = [marked[cause], marked[shortcut]]
    extensive = info.scaling.extensive
    values = np.stack([of_molecules(one, offsets, extensive) for one in atoms], axis=1)
    scaling = fit_scaling([one.numbers for one in examples], values, extensive=extensive)
    targets = torch.from_numpy(values)
    model = train_briefly(
        info, scaling, examples, lambda rows: targets[rows], scaling.std, steps=steps, seed=seed
    )
    with torch.no_grad():
        said = model(collate(examples)).double().numpy()
    crossed = [
        float(r_squared(said[rows, 1:], values[rows, :1])[0]) if rows.any() else float("nan")
        for rows in (biased, ~biased)
    ]
    learned = r_squared(said, values)
    mine = np.repeat(biased, sizes)
    return Planted(
        cause=cause,
        shortcut=shortcut,
        model=model,
        batch=collate([one for one, chosen in zip(examples, biased, strict=True) if chosen]),
        cause_atoms=atoms[0][mine],
        shortcut_atoms=atoms[1][mine],
        learned=(float(learned[0]), float(learned[1])),
        right=crossed[0],
        wrong=crossed[1],
    )


def _chosen(
    marked: Mapping[str, NDArray[np.float64]], offsets: NDArray[np.int64]
) -> tuple[str, str, NDArray[np.bool_]]:
    """Cause, shortcut, and which molecules have as many of both, at least one.

    Chosen are the two that most molecules have as many of, among those whose number varies in
    these molecules; where it does not, saying the same of all of them would be right too.
    """
    counts = {name: of_molecules(atoms, offsets, True) for name, atoms in marked.items()}
    best: tuple[int, str, str, NDArray[np.bool_]] | None = None
    for cause, shortcut in permutations(marked, 2):
        if (marked[cause] * marked[shortcut]).any():
            continue
        biased = (counts[cause] == counts[shortcut]) & (counts[cause] > 0)
        if biased.sum() < FEWEST_BIASED or np.ptp(counts[cause][biased]) == 0:
            continue
        if best is None or biased.sum() > best[0]:
            best = int(biased.sum()), cause, shortcut, biased
    if best is None:
        raise InputError(
            f"no two of {', '.join(marked)} occur equally often in {FEWEST_BIASED} of the "
            "molecules and differently in others: no bias can be planted"
        )
    return best[1:]
