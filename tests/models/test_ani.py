"""ANI against TorchANI's numbers, and its environments against the paper's sums."""

import json
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch

from hpcml.errors import InputError, SettingsError
from hpcml.models import build
from hpcml.models.ani import ANISettings
from hpcml.models.neurochem import read_neurochem
from hpcml.molecules import Molecule

DATA = Path(__file__).parent / "data"


@pytest.fixture(scope="module")
def published():
    return read_neurochem(DATA / "ani-1ccx")


@pytest.fixture(scope="module")
def reference():
    """Molecules of H, C, N, O with the energies that TorchANI gives them."""
    rows = json.loads((DATA / "ani-1ccx-torchani.json").read_text())["molecules"]
    molecules = [Molecule(row["numbers"], row["positions"]) for row in rows]
    return molecules, torch.tensor([[row["energy"]] for row in rows], dtype=torch.float64)


def plain_aev(molecule, elements=(1, 6, 7, 8)):
    """Smith 2017, equations 2 to 4 with NeuroChem's factors; ANI-1ccx's constants, one term
    at a time."""

    def f_c(R, cutoff):
        return 0.5 * np.cos(np.pi * R / cutoff) + 0.5 if cutoff > R else 0.0

    ShfR = np.linspace(0.9, 4.93125, 16)
    ShfA = np.array([0.9, 1.55, 2.2, 2.85])
    ShfZ = np.pi / 16 + np.arange(8) * np.pi / 8
    pairs = [(s, t) for s in range(4) for t in range(s, 4)]
    species = [elements.index(z) for z in molecule.numbers]
    x = molecule.positions
    rows = []
    for i in range(len(molecule)):
        radial = np.zeros((4, 16))
        angular = np.zeros((10, 4, 8))
        others = [j for j in range(len(molecule)) if j != i]
        for j in others:
            R = np.linalg.norm(x[j] - x[i])
            radial[species[j]] += 0.25 * np.exp(-16 * (R - ShfR) ** 2) * f_c(R, 5.2)
        for j, k in combinations(others, 2):
            Rj, Rk = np.linalg.norm(x[j] - x[i]), np.linalg.norm(x[k] - x[i])
            theta = np.arccos(0.95 * np.dot(x[j] - x[i], x[k] - x[i]) / (Rj * Rk))
            angle = ((1 + np.cos(theta - ShfZ)) / 2) ** 32
            mean = np.exp(-8 * ((Rj + Rk) / 2 - ShfA) ** 2)
            at = pairs.index(tuple(sorted((species[j], species[k]))))
            angular[at] += 2 * np.outer(mean, angle) * f_c(Rj, 3.5) * f_c(Rk, 3.5)
        rows.append(np.concatenate([radial.ravel(), angular.ravel()]))
    return np.array(rows)


def test_environments_equal_the_paper(make_model, make_batch, reference):
    model = make_model("ani")
    batch = make_batch(model, reference[0])
    element = torch.tensor([(1, 6, 7, 8).index(z) for z in batch.numbers.tolist()])
    plain = np.concatenate([plain_aev(molecule) for molecule in reference[0]])
    np.testing.assert_allclose(model.aev(batch, element), plain, atol=1e-13)


def test_environments_of_few_atoms_and_of_many(make_model, make_batch, reference):
    """Molecules without an angle, and more atoms than are taken at once."""
    model = make_model("ani")
    one = Molecule([8], [[0.0, 0.0, 0.0]])
    two = Molecule([1, 6], [[0.0, 0.0, 0.0], [0.0, 0.0, 1.1]])
    for few in ([one], [two], [one, two]):
        batch = make_batch(model, few)
        element = torch.tensor([(1, 6, 7, 8).index(z) for z in batch.numbers.tolist()])
        plain = np.concatenate([plain_aev(molecule) for molecule in few])
        np.testing.assert_allclose(model.aev(batch, element), plain, atol=1e-13)
    once = model(make_batch(model, reference[0])).detach()
    many = 1 + 4096 // sum(len(molecule) for molecule in reference[0])
    again = model(make_batch(model, reference[0] * many)).detach()
    torch.testing.assert_close(again, once.repeat(many, 1))


def test_published_network_gives_torchani_s_energies(published, make_batch, reference):
    molecules, energies = reference
    single = published.float()
    prediction = single(make_batch(single, molecules, torch.float32))
    # float32 weights and environments; 1e-5 hartree is 0.006 kcal/mol
    torch.testing.assert_close(prediction, energies, rtol=0.0, atol=1e-5)
    # TorchANI holds the grid's constants in float32
    double = published.double()(make_batch(published, molecules))
    torch.testing.assert_close(double, energies, rtol=0.0, atol=2e-7)


def test_published_sizes_by_default(published):
    model = build("ani")
    assert model.aev.size == 384
    assert {name: p.shape for name, p in model.named_parameters()} == {
        name: p.shape for name, p in published.named_parameters()
    }
    assert sum(p.numel() for p in model.parameters()) == 326660


def test_atomic_terms_equal_the_element_s_own_network(make_model, make_batch, reference, scaling):
    molecules, _ = reference
    model = make_model("ani", {"members": 2, "activation": "gaussian"}, scaling=scaling)
    w = {name: value.numpy() for name, value in model.state_dict().items()}
    rows = []
    for molecule in molecules:
        for z, aev in zip(molecule.numbers, plain_aev(molecule), strict=True):
            s = (1, 6, 7, 8).index(z)
            outputs = []
            for member in (0, 1):
                x = aev
                for layer in (0, 2, 4):
                    at = f"members.{member}.hidden.{s}.{layer}"
                    x = np.exp(-((w[f"{at}.weight"] @ x + w[f"{at}.bias"]) ** 2))
                at = f"members.{member}.outputs.{s}"
                outputs.append(w[f"{at}.weight"] @ x + w[f"{at}.bias"])
            y = np.mean(outputs, axis=0)
            rows.append(y * scaling.atom_std + scaling.atom_mean + scaling.references[z])
    batch = make_batch(model, molecules)
    np.testing.assert_allclose(model.atomic_terms(batch).detach(), rows, rtol=1e-9, atol=1e-9)
    members = model.member_predictions(batch)
    torch.testing.assert_close(members.mean(dim=0), model(batch))
    assert float((members[0] - members[1]).abs().min().detach()) > 1e-6
    assert model.representation(batch).shape == (batch.atoms, 2 * 96)


def test_two_molecules_far_apart_add_up(published, make_batch, reference):
    model = published.double()
    first, second = reference[0][1], reference[0][2]
    together = Molecule(
        np.concatenate([first.numbers, second.numbers]),
        np.concatenate([first.positions, second.positions + 50.0]),
    )
    apart = model(make_batch(model, [first, second])).sum()
    torch.testing.assert_close(model(make_batch(model, [together])).sum(), apart)


def test_an_odd_exponent_of_the_angle(make_model, make_batch, molecules):
    """Exponents that are no power of two are not squared together."""
    at_three, at_four = (
        make_model("ani", {"elements": (1, 6, 7, 8, 9), "hidden": [[4]] * 5, "aev": {"Zeta": zeta}})
        for zeta in (3.0, 4.0)
    )
    batch = make_batch(at_three, molecules[:1])  # water: one angle at the oxygen
    element = torch.tensor([(1, 6, 7, 8, 9).index(z) for z in batch.numbers.tolist()])
    oxygen = int((batch.numbers == 8).nonzero())
    ratio = (at_four.aev(batch, element) / at_three.aev(batch, element))[oxygen, 80:]
    x = molecules[0].positions - molecules[0].positions[oxygen]
    x = np.delete(x, oxygen, axis=0)
    theta = np.arccos(0.95 * x[0] @ x[1] / np.linalg.norm(x[0]) / np.linalg.norm(x[1]))
    expected = (1 + np.cos(theta - np.pi * (2 * np.arange(8) + 1) / 16)) / 2
    np.testing.assert_allclose(ratio[:8], expected, rtol=1e-9)


def test_elements_and_sizes_that_do_not_fit_are_refused(make_model, make_batch, molecules):
    with pytest.raises(InputError, match="does not know F, only H C N O"):
        model = make_model("ani")
        model(make_batch(model, molecules))
    with pytest.raises(SettingsError, match="4 elements need as many"):
        build("ani", {"hidden": [[4], [4]]})
    with pytest.raises(SettingsError, match="one size for all"):
        build("ani", {"hidden": [[4], [4], [4], [5]]})
    assert ANISettings().members == 1


def test_weights_into_hidden_units_are_bounded(make_model):
    model = make_model("ani", {"hidden": [[6, 4]] * 4, "max_norm": 0.5})
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.constrain()
    changed = 0
    for name, value in model.state_dict().items():
        if ".hidden." not in name or not name.endswith("weight"):
            torch.testing.assert_close(value, before[name], rtol=0, atol=0)
            continue
        for row, was in zip(value, before[name], strict=True):
            length = min(1.0, 0.5 / float(was.norm()))
            changed += length < 1.0
            torch.testing.assert_close(row, was * length, rtol=1e-6, atol=1e-9)
    assert changed > 10


@pytest.fixture
def copy(tmp_path):
    """The published files, to be spoilt."""
    for path in sorted((DATA / "ani-1ccx").rglob("*")):
        target = tmp_path / path.relative_to(DATA / "ani-1ccx")
        if path.is_dir():
            target.mkdir()
        else:
            target.write_bytes(path.read_bytes())
    return tmp_path


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("networks/ANN-C.nnf-l2.wparam", b"\0" * 8, "needs 16128 finite numbers, has 2"),
        ("networks/ANN-C.nnf-l2.bparam", b"\xff" * 448, "needs 112 finite numbers"),
        ("networks/ANN-H.nnf", b"12=\nnot bz2", "not a NeuroChem network"),
        ("rHCNO-5.2R_16-3.5A_a4-8.params", b"Rcr = 5.2\n", "not a NeuroChem parameter file"),
        ("sae_linfit.dat", b"H,0=-0.5\n", "no energy of C"),
        ("sae_linfit.dat", b"H,0=a\n", "not a list of atomic energies"),
    ],
)
def test_spoilt_files_are_named(name, content, message, copy):
    (copy / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_neurochem(copy)


def test_missing_files_are_named(copy):
    (copy / "networks/ANN-N.nnf-l1.wparam").unlink()
    with pytest.raises(InputError, match=r"ANN-N\.nnf-l1\.wparam: No such file"):
        read_neurochem(copy)
    with pytest.raises(InputError, match=r"needs one file \*.params, has 0"):
        read_neurochem(copy / "networks")


def test_an_ensemble_is_read_member_by_member(copy, published, make_batch, reference):
    for member in ("train0", "train1"):
        (copy / member / "networks").mkdir(parents=True)
        for path in (DATA / "ani-1ccx/networks").iterdir():
            (copy / member / "networks" / path.name).write_bytes(path.read_bytes())
    both = read_neurochem(copy).double()
    batch = make_batch(both, reference[0])
    torch.testing.assert_close(both(batch), published.double()(batch))
    assert both.member_predictions(batch).shape == (2, 7, 1)
