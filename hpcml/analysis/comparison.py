"""``hpcml analyze --faithfulness``: which explanation of a trained network is true to it?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from rdkit import Chem

from hpcml.analysis.analyze_stage import Table, write_table
from hpcml.errors import InputError, SettingsError
from hpcml.files import make_folder
from hpcml.molecules import Molecule, perceive
from hpcml.relevance import ExplainSettings
from hpcml.store import Dataset

if TYPE_CHECKING:
    from torch import Tensor, nn

    from hpcml.models import Batch
    from hpcml.relevance.measures import Explain

RULES = (
    "epsilon",
    "gamma",
    "z_plus",
    "epsilon_gamma",
    "gradient_times_input",
    "integrated_gradients",
    "occlusion",
    "atomic_terms",
    "random",
)

LEGEND = """\
flipping_area (property's unit): larger is better, 0 is chance; flipping_error: its standard error
randomization: weights shuffled, near 0 is right (atomic_terms hold references, which stay)
symmetry: 0 is right; stability to noise of the positions: smaller is calmer"""


def faithfulness(
    dataset: Dataset,
    model_folder: Path,
    destination: Path,
    *,
    rules: Sequence[str] = RULES,
    molecules: int = 100,
    noise: float = 0.01,
    seed: int = 0,
) -> Path:
    """Write destination/faithfulness.csv: the measures of hpcml.relevance.measures by rule.

    molecules   drawn from the data set, those that the network can take
    noise       angstrom, of ``stability``

    Columns: rule; flipping_area and its standard error (target's unit; larger is better, 0 is
    chance); randomization (correlation with the trained network's relevances when all weights
    are shuffled; near 0 is right); symmetry (0 is right); stability (smaller is calmer).  The
    rule "random" is noise, for comparison; "atomic_terms" is left out where there are none, and
    holds the elements' references, which no shuffling touches: its randomization stays near 1
    where these say most.
    """
    from hpcml.models import collate, example
    from hpcml.relevance.measures import (
        cascade,
        flipping,
        stability,
        symmetry,
        within_molecules,
    )
    from hpcml.training.model_file import load_model

    model, _ = load_model(model_folder)
    dtype = next(model.parameters()).dtype
    chosen = _usable(dataset, molecules, seed)
    batch = collate([example(one, model.inputs) for one in chosen], dtype)
    ranks = [Chem.CanonicalRankAtoms(perceive(one), breakTies=False) for one in chosen]
    classes = np.concatenate([np.array(list(of_one), dtype=np.int64) for of_one in ranks])
    *_, (_, shuffled) = cascade(model, seed=seed)
    table: Table = []
    for rule in rules:
        explain = _by_rule(rule, seed)
        try:
            atoms = explain(model, batch)
        except SettingsError:
            continue  # the network has no atomic terms
        area = flipping(model, batch, atoms).area
        table.append(
            {
                "rule": rule,
                "molecules": batch.size,
                "flipping_area": float(area.mean()),
                "flipping_error": float(area.std() / max(len(area), 1) ** 0.5),
                "randomization": within_molecules(atoms, explain(shuffled, batch), batch.molecule),
                "symmetry": symmetry(atoms.cpu().numpy(), classes, batch.molecule.cpu().numpy()),
                "stability": stability(model, chosen, explain, noise=noise, seed=seed),
            }
        )
    make_folder(Path(destination))
    write_table(Path(destination) / "faithfulness.csv", table)
    return Path(destination) / "faithfulness.csv"


def _by_rule(rule: str, seed: int) -> Explain:
    """Atoms' relevances by a rule or comparator, or at random."""
    import torch

    from hpcml.relevance.comparators import explain_by

    generator = torch.Generator().manual_seed(seed)

    def explain(model: nn.Module, batch: Batch) -> Tensor:
        if rule == "random":
            return torch.randn(batch.atoms, generator=generator, dtype=torch.float64)
        settings = msgspec.convert({"rule": rule}, ExplainSettings)
        return explain_by(model, batch, settings).atoms

    return explain


def _usable(dataset: Dataset, most: int, seed: int) -> list[Molecule]:
    """Molecules drawn at random whose bonds are perceived."""
    found: list[Molecule] = []
    for row in np.random.default_rng(seed).permutation(len(dataset)).tolist():
        molecule = dataset.molecules[row]
        try:
            perceive(molecule)
        except InputError:
            continue
        found.append(molecule)
        if len(found) == most:
            break
    if not found:
        raise InputError(f"{dataset.folder}: no molecule whose bonds are perceived")
    return found
