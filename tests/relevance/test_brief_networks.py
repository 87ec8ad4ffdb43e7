"""Networks trained on noise and on a planted bias: what they were given is what they say."""

import msgspec
import numpy as np
import pytest
import torch

from hpcml.errors import InputError
from hpcml.models import build, collate, example
from hpcml.models.layers import Linear
from hpcml.molecules import molecule_from_smiles, perceive
from hpcml.relevance.null_test import null_network, offsets_of, spread_within
from hpcml.relevance.planted_bias import Agreements, Planted, plant


def taken(molecules, model):
    return [(one, example(one, model.inputs), perceive(one)) for one in molecules]


@pytest.mark.parametrize("name", ["linear", "weave", "weave-histogram", "graphconv", "dtnn"])
def test_labels_of_noise_lie_about_what_a_silent_network_says(name, trained, molecules):
    """A network whose last affine layers give zero predicts its offsets alone."""
    _, info = trained(name)
    silent = build(info.model, info.hyperparameters, scaling=info.scaling).double()
    *_, last = [layer for layer in silent.modules() if isinstance(layer, torch.nn.Linear | Linear)]
    with torch.no_grad():
        last.weight.zero_()
        if last.bias is not None:
            last.bias.zero_()
        batch = collate([example(one, silent.inputs) for one in molecules[:12]], torch.float64)
        said = silent(batch)
    examples = [example(one, silent.inputs) for one in molecules[:12]]
    torch.testing.assert_close(offsets_of(silent, info.scaling, examples), said)


def test_a_network_of_noise_says_nothing(trained, molecules):
    """What it adds to its offsets is a small part of the spread it was trained on."""
    model, info = trained("linear")
    examples = [example(one, model.inputs) for one in molecules]
    network = null_network(model, info, examples, steps=200)
    with torch.no_grad():
        said = network(collate(examples)) - offsets_of(model, info.scaling, examples)
        learned = model(collate(examples, torch.float64)) - offsets_of(
            model, info.scaling, examples
        )
    assert said.std() < 0.5 * info.scaling.std[0]
    assert torch.isfinite(learned).all()


def test_spread_within_molecules():
    molecule = torch.tensor([0, 0, 1, 1, 1])
    relevance = torch.tensor([1.0, 3.0, 5.0, 5.0, 5.0])
    assert spread_within(relevance, molecule).tolist() == [1.0, 0.0]


# ------------------------------------------------------------------------------ planted bias

SMILES = ("NCCO", "OCC(N)C", "NCCCO", "NC(O)C", "CC(O)CN", "NCC(N)C(O)CO", "OCC(N)C(O)CN",
          "NCC(O)C(N)O", "CCN", "CC=O", "OCCO", "NCCN")  # fmt: skip
MARKS = {
    "nitrogen": lambda atom: atom.GetAtomicNum() == 7,
    "oxygen": lambda atom: atom.GetAtomicNum() == 8,
}


@pytest.mark.parametrize("extensive", [True, False])
def test_planted_molecules_do_not_tell_cause_from_shortcut(extensive, trained):
    model, info = trained("linear")
    scaling = msgspec.structs.replace(info.scaling, extensive=extensive, references={})
    info = msgspec.structs.replace(info, scaling=scaling)
    some = taken([molecule_from_smiles(smiles) for smiles in SMILES], model)
    planted = plant(info, some, marks=MARKS, steps=20)
    assert isinstance(planted, Planted)
    assert {planted.cause, planted.shortcut} == {"nitrogen", "oxygen"}
    assert planted.batch.size == 8  # the first eight
    molecule = planted.batch.molecule.numpy()
    counts = [
        np.bincount(molecule, atoms) for atoms in (planted.cause_atoms, planted.shortcut_atoms)
    ]
    np.testing.assert_array_equal(*counts)
    assert set(counts[0].tolist()) == {1.0, 2.0}
    assert not (planted.cause_atoms * planted.shortcut_atoms).any()
    numbers = planted.batch.numbers.numpy()
    np.testing.assert_array_equal(
        numbers[planted.cause_atoms > 0], 7 if planted.cause == "nitrogen" else 8
    )
    # the marks themselves are perfect explanations
    told = planted.agreements(planted.cause_atoms, planted.shortcut_atoms)
    np.testing.assert_allclose(told.right_cause, 1.0)
    np.testing.assert_allclose(told.wrong_shortcut, 1.0)
    assert (told.contrast > 1.0).all()


def test_what_favours_a_kind_of_atoms_whatever_is_said_has_no_contrast():
    random = np.random.default_rng(1)
    cause, shortcut = random.normal(size=(2, 5))
    np.testing.assert_array_equal(Agreements(cause, shortcut, cause, shortcut).contrast, 0.0)


def test_molecules_without_two_alike_marks(trained, molecules):
    model, info = trained("linear")
    some = taken([molecule_from_smiles(smiles) for smiles in ("CCO", "CCN", "CCC")], model)
    with pytest.raises(InputError, match=r"nitrogen, oxygen.*no bias can be planted"):
        plant(info, some, marks=MARKS)
