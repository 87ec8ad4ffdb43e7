"""A property whose atoms' contributions are known: does a network that learned it give them back?

The property is logP after Crippen (Wildman and Crippen 1999, as RDKit has it) with each atom's
contribution averaged over its element.  From sums over whole molecules no network can tell
apart Crippen's 68 atom types: a contribution may be handed from an atom to its neighbour
without any sum changing.  What an element is worth does follow from the sums.
"""

import numpy as np
import pytest
import torch
from rdkit.Chem import rdMolDescriptors
from scipy.stats import rankdata

from hpcml.models import build, fit_scaling
from hpcml.molecules import perceive
from hpcml.relevance import ExplainSettings, explain_by
from hpcml.relevance.faithfulness import within_molecules

CASES = {
    "weave": ({"readout": "sum", "hidden": 16, "representation": 16, "layers": 1}, 150, 1e-2),
    "dtnn": ({"gaussians": 20, "farthest": 6.0, "width": 0.3, "passes": 2}, 200, 5e-3),
}


@pytest.fixture(scope="module")
def contributions(molecules):
    """(A,) what each atom adds to the property."""
    crippen, numbers = [], np.concatenate([molecule.numbers for molecule in molecules])
    for molecule in molecules:
        crippen += [logp for logp, _ in rdMolDescriptors._CalcCrippenContribs(perceive(molecule))]
    found = np.array(crippen)
    for z in np.unique(numbers):
        found[numbers == z] = found[numbers == z].mean()
    return found


@pytest.fixture(scope="module", params=CASES)
def learned(request, molecules, contributions, batch_of):
    """A network trained on the molecules' sums, its batch, and its error in units of the spread."""
    hyperparameters, steps, rate = CASES[request.param]
    ends = np.cumsum([len(molecule) for molecule in molecules])
    target = np.array([[part.sum()] for part in np.split(contributions, ends[:-1])])
    torch.manual_seed(0)
    scaling = fit_scaling([molecule.numbers for molecule in molecules], target)
    model = build(request.param, hyperparameters, scaling=scaling)
    batch, wanted = batch_of(model, molecules, torch.float32), torch.from_numpy(target)
    decay = 0.1 if request.param == "weave" else 0.0
    optimizer = torch.optim.AdamW(model.parameters(), rate, weight_decay=decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = ((model(batch) - wanted) / target.std()).square().mean()
        loss.backward()
        optimizer.step()
        schedule.step()
    assert loss < 0.05
    return request.param, model.eval(), batch


def area_under_roc(score, truth, molecule):
    """Mean over molecules: are the atoms of the largest contributions (a quarter) ranked first?"""
    areas = []
    for number in np.unique(molecule):
        mine, theirs = score[molecule == number], truth[molecule == number]
        threshold = np.sort(theirs)[-max(1, round(len(theirs) / 4))]
        top = theirs >= threshold - 1e-9
        if not top.all():
            ranks = rankdata(mine)[top].sum() - top.sum() * (top.sum() + 1) / 2
            areas.append(ranks / (top.sum() * (~top).sum()))
    return float(np.mean(areas))


def test_contributions_are_given_back(learned, contributions):
    name, model, batch = learned
    truth, molecule = torch.from_numpy(contributions), batch.molecule.numpy()
    found = {}
    for rule in ("epsilon", "epsilon_gamma", "gradient_times_input", "integrated_gradients"):
        atoms = explain_by(model, batch, ExplainSettings(rule=rule)).atoms
        pearson = within_molecules(atoms, truth, batch.molecule)
        found[rule] = pearson, area_under_roc(atoms.numpy(), contributions, molecule)
        print(f"{name:6} {rule:22} Pearson {found[rule][0]:.3f}  AUROC {found[rule][1]:.3f}")
    pearson, area = found["epsilon_gamma"]
    assert pearson > 0.9
    assert area > 0.95
    assert pearson > found["gradient_times_input"][0]
