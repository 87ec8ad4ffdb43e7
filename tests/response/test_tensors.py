"""alpha and beta of small molecules against finite fields and against identities."""

from __future__ import annotations

import sys
from functools import cache

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from hpcml.errors import ConvergenceError, InputError, SettingsError
from hpcml.molecules.molecule import Molecule
from hpcml.response import (
    Level,
    Request,
    ResponseProperties,
    compute,
    finite_field,
    libxc,
)
from hpcml.response.engine import Resources
from hpcml.response.psi4 import composition
from hpcml.response.psi4.reference import Reference, ground_state
from hpcml.response.tensors import Tensors, tensors

# bent, unequal bonds, in no special frame: no component vanishes by symmetry
POSITIONS = np.array([[0.05, 0.02, -0.06], [0.1, 0.76, 0.55], [-0.07, -0.72, 0.6]])
WATER = Molecule([8, 1, 1], POSITIONS)
CATION = Molecule([8, 1, 1], POSITIONS, charge=1, multiplicity=2)
GRID = (35, 110)  # the same for the SCF and the kernel: then both are one functional


def level(method: str, **settings) -> Level:
    settings = {
        "basis": "6-31G",
        "scf_convergence": 1e-10,
        "response_convergence": 1e-7,
        "grid": GRID,
        "kernel_grid": GRID,
        **settings,
    }
    return Level(method=method, **settings)


@cache
def found(molecule: Molecule, which: Level, request: Request) -> Tensors:
    with ground_state(molecule, which, Resources()) as reference:
        return tensors(reference, which, request)


ALL = Request(processes=("static", "shg", "eope", "or"), frequencies=(0.05,))


@pytest.mark.parametrize(
    ("method", "molecule"),
    [
        pytest.param("HF", WATER, id="RHF"),
        pytest.param("B3LYP", WATER, id="RKS B3LYP"),
        pytest.param("PBE", CATION, id="UKS PBE"),
        pytest.param("HF", CATION, id="UHF", marks=pytest.mark.slow),
        pytest.param("SVWN", CATION, id="UKS LDA", marks=pytest.mark.slow),
        pytest.param("B3LYP", CATION, id="UKS B3LYP", marks=pytest.mark.slow),
        pytest.param("CAM-B3LYP", WATER, id="RKS CAM-B3LYP", marks=pytest.mark.slow),
        pytest.param("wB97X", WATER, id="RKS wB97X", marks=pytest.mark.slow),
        pytest.param("CAM-B3LYP", CATION, id="UKS CAM-B3LYP", marks=pytest.mark.slow),
    ],
)
def test_analytic_tensors_are_derivatives_in_finite_fields(method, molecule) -> None:
    # second differences make the SCF's error 1e5 times as large, more so for the cation, whose
    # orbitals lie close: a smaller error (Hartree-Fock can; fitted long-range exchange is
    # symmetric to 1e-10 only) and larger fields bring 1.7e-5 down to 5e-7
    closed = molecule is WATER
    which = level(method, **({} if closed or method != "HF" else {"scf_convergence": 1e-12}))
    step = finite_field.STEP if closed else 2.0 * finite_field.STEP
    with ground_state(molecule, which, Resources()) as reference:
        analytic = tensors(reference, which, Request())
        first, second = finite_field.derivatives(
            lambda field: finite_field.density_in_field(reference, field), step
        )
    alpha = np.einsum("imn,mnj->ij", reference.dipole_integrals, first)
    beta = np.einsum("imn,mnjk->ijk", reference.dipole_integrals, second)
    np.testing.assert_allclose(
        analytic.polarizability[0].tensor, alpha, atol=1e-6 * np.abs(alpha).max()
    )
    np.testing.assert_allclose(
        analytic.hyperpolarizability[0].tensor, beta, atol=1e-5 * np.abs(beta).max()
    )


@pytest.mark.parametrize("method", ["HF", "PBE"])
def test_symmetry_in_the_indices(method) -> None:
    by_name = {b.process: b.tensor for b in found(WATER, level(method), ALL).hyperpolarizability}
    static = by_name["static"]
    for order in ((0, 2, 1), (1, 0, 2), (2, 1, 0)):
        np.testing.assert_allclose(static, static.transpose(order), atol=1e-12)
    # -w; w, 0 and 0; w, -w are one function of three frequencies
    np.testing.assert_allclose(by_name["eope"], by_name["or"].transpose(2, 1, 0), atol=1e-9)


@pytest.mark.parametrize("method", ["HF", "PBE"])
def test_small_frequencies_lead_to_the_static_tensors(method) -> None:
    """beta(-w_s; w_1, w_2) = beta(0) (1 + A (w_s^2 + w_1^2 + w_2^2) + ...)."""
    low = 0.005
    request = Request(processes=("static", "shg", "eope", "or"), frequencies=(low,))
    near = found(WATER, level(method), request)
    static = near.hyperpolarizability[0].tensor
    scale = np.abs(static).max()
    for beta in near.hyperpolarizability[1:]:
        np.testing.assert_allclose(beta.tensor, static, atol=2e-3 * scale)
    parallel = {beta.process: np.einsum("iij->j", beta.tensor) for beta in near.hyperpolarizability}
    rise = {name: np.linalg.norm(value - parallel["static"]) for name, value in parallel.items()}
    # 6 w^2 against 2 w^2
    assert rise["shg"] / rise["eope"] == pytest.approx(3.0, rel=0.1)


def test_any_pair_of_frequencies_generalizes_the_named_processes() -> None:
    named = found(WATER, level("HF"), ALL)
    pairs = Request(processes=(), frequencies=(0.05,), pairs=((0.05, 0.05), (0.0, 0.05)))
    by_pair = found(WATER, level("HF"), pairs).hyperpolarizability
    named_tensors = {beta.process: beta.tensor for beta in named.hyperpolarizability}
    np.testing.assert_allclose(by_pair[0].tensor, named_tensors["shg"], atol=1e-6)
    swapped = named_tensors["eope"].transpose(0, 2, 1)
    np.testing.assert_allclose(by_pair[1].tensor, swapped, atol=1e-6)


def test_rotation_covariance() -> None:
    turn = Rotation.from_euler("xyz", [0.4, -1.1, 2.0]).as_matrix()
    turned = Molecule(WATER.numbers, POSITIONS @ turn.T)
    which = level("HF", scf_convergence=1e-11, response_convergence=1e-10)
    here, there = (found(molecule, which, ALL) for molecule in (WATER, turned))
    for a, b in zip(here.polarizability, there.polarizability, strict=True):
        np.testing.assert_allclose(turn @ a.tensor @ turn.T, b.tensor, atol=1e-8)
    for a, b in zip(here.hyperpolarizability, there.hyperpolarizability, strict=True):
        expected = np.einsum("ai,bj,ck,ijk->abc", turn, turn, turn, a.tensor)
        np.testing.assert_allclose(expected, b.tensor, atol=1e-8 * np.abs(b.tensor).max())


@pytest.mark.parametrize("molecule", [WATER, CATION], ids=["RHF", "UHF"])
def test_density_fitting_errs_by_little_and_both_ways_to_integrals_agree(molecule) -> None:
    fitted = found(molecule, level("HF"), ALL)
    exact = found(molecule, level("HF", exact=True), ALL)
    for a, b in zip(fitted.polarizability, exact.polarizability, strict=True):
        np.testing.assert_allclose(a.tensor, b.tensor, rtol=0.0, atol=2e-3)
    for c, d in zip(fitted.hyperpolarizability, exact.hyperpolarizability, strict=True):
        scale = np.abs(d.tensor).max()
        np.testing.assert_allclose(c.tensor, d.tensor, rtol=0.0, atol=2e-3 * scale)


def test_a_looser_kernel_grid_hardly_moves_the_beta_of_water() -> None:
    fine = found(WATER, level("B3LYP", grid=(75, 302), kernel_grid=(75, 302)), Request())
    loose = found(WATER, level("B3LYP", grid=(75, 302), kernel_grid=(50, 194)), Request())
    beta = fine.hyperpolarizability[0].tensor
    np.testing.assert_allclose(
        loose.hyperpolarizability[0].tensor, beta, atol=1e-4 * np.abs(beta).max()
    )


FLUORIDE = Molecule([1, 9], [[0.0, 0.0, 0.0], [0.0, 0.0, 0.92]])
TPSS_FLUORIDE = [4.25964, 0.71368, 19.5600, 1.25676]  # alpha zz, xx; beta zzz, zxx


@pytest.fixture
def without_libxc(monkeypatch) -> None:
    """As where PySCF is not installed."""
    monkeypatch.setitem(sys.modules, "pyscf.dft", None)


def of_fluoride(result: ResponseProperties) -> list[float]:
    alpha, beta = result.polarizability[0].tensor, result.hyperpolarizability[0].tensor
    return [alpha[2, 2], alpha[0, 0], beta[2, 2, 2], beta[2, 0, 0]]


def test_a_meta_functional_has_every_process_and_shares() -> None:
    """Against PySCF 2.14 in fields of its own (RKS, conv_tol_grad 1e-8, (75, 302) grid)."""
    which = level("TPSS", grid=(50, 194), kernel_grid=(50, 194), scf_convergence=1e-8, exact=True)
    request = Request(
        properties=("alpha", "beta", "shares"), processes=("static", "shg"), frequencies=(1e-3,)
    )
    result = compute(FLUORIDE, which, request)
    assert "analytic" in result.provenance["response"]
    assert "LibXC" in result.provenance["third_derivatives"]
    np.testing.assert_allclose(of_fluoride(result), TPSS_FLUORIDE, rtol=1e-3)
    static, shg = (beta.tensor for beta in result.hyperpolarizability)
    np.testing.assert_allclose(shg, static, atol=1e-3)
    alpha, parallel = (
        np.trace(result.polarizability[0].tensor) / 3.0,
        result.hyperpolarizability[0].parallel(result.dipole),
    )
    assert result.shares["alpha_iso"].sum() == pytest.approx(alpha, rel=1e-10)
    assert result.shares["beta_parallel"].sum() == pytest.approx(parallel, rel=1e-10)


def test_an_open_shell_of_a_meta_functional() -> None:
    """Against PySCF 2.14 in fields along z (UKS, 0.004 and 0.008, (75, 302) grid, not pruned)."""
    which = level("TPSS", basis="6-31+G(d)", exact=True, scf_convergence=1e-8, grid=(75, 302),
                  kernel_grid=(75, 302))  # fmt: skip
    result = found(CATION, which, Request())
    alpha = result.polarizability[0].tensor[:, 2]
    np.testing.assert_allclose(alpha, [-0.093024, -0.166400, 4.229914], atol=5e-5)
    beta = result.hyperpolarizability[0].tensor[:, 2, 2]
    np.testing.assert_allclose(beta, [0.26283, 0.63342, -2.87386], atol=5e-4)


def test_a_meta_functional_is_done_in_finite_fields_without_libxc(without_libxc) -> None:
    which = level("TPSS", grid=(50, 194), scf_convergence=1e-7, exact=True)
    request = Request(
        properties=("alpha", "beta", "shares"), processes=("static", "shg"), frequencies=(0.1,)
    )
    result = compute(FLUORIDE, which, request)
    assert "finite field" in result.provenance["response"]
    # the dynamic ones have no way here: told, and the static ones given all the same
    assert [a.frequency for a in result.polarizability] == [0.0]
    assert [b.process for b in result.hyperpolarizability] == ["static"]
    (warning,) = [
        w for w in result.provenance["warnings"] if "asked for at frequencies is not given" in w
    ]
    assert "pip install 'hpcml[pyscf]'" in warning
    np.testing.assert_allclose(of_fluoride(result), TPSS_FLUORIDE, rtol=1e-3, atol=5e-4)
    alpha = np.trace(result.polarizability[0].tensor) / 3.0
    assert result.shares["alpha_iso"].sum() == pytest.approx(alpha, rel=1e-10)
    parallel = result.hyperpolarizability[0].parallel(result.dipole)
    assert result.shares["beta_parallel"].sum() == pytest.approx(parallel, rel=1e-10)


def test_what_a_meta_functional_has_not_without_libxc_is_refused(without_libxc) -> None:
    which = level("TPSS", basis="STO-3G", grid=(20, 50))
    only_dynamic = Request(properties=("beta",), processes=("shg",), frequencies=(0.1,))
    with pytest.raises(SettingsError, match="only static"):
        found(FLUORIDE, which, only_dynamic)
    hydroxyl = Molecule([8, 1], FLUORIDE.positions, multiplicity=2)
    loose = level("TPSS", basis="STO-3G", grid=(20, 50), scf_convergence=1e-5)
    with pytest.raises(SettingsError, match="open shell"):
        found(hydroxyl, loose, Request())


@pytest.mark.parametrize(("method", "molecule"), [("B3LYP", WATER), ("PBE", CATION)])
def test_without_libxc_third_derivatives_are_differences(method, molecule, monkeypatch) -> None:
    request = Request(properties=("beta", "shares"), processes=("static",))
    exact = compute(molecule, level(method), request)
    monkeypatch.setitem(sys.modules, "pyscf.dft", None)
    difference = compute(molecule, level(method), request)
    assert exact.provenance["third_derivatives"].startswith("LibXC")
    assert difference.provenance["third_derivatives"].startswith("central difference, because")
    a, b = (result.hyperpolarizability[0].tensor for result in (exact, difference))
    np.testing.assert_allclose(a, b, atol=1e-5 * np.abs(a).max())
    a, b = (result.shares["beta_parallel"] for result in (exact, difference))
    np.testing.assert_allclose(a, b, atol=1e-3)


def test_a_functional_that_is_not_psi4s_is_not_used(monkeypatch) -> None:
    monkeypatch.setattr(composition, "_components", lambda *_: [libxc.Component("GGA_X_PBE")])
    provenance = found(WATER, level("PBE", basis="STO-3G"), Request()).provenance
    assert "differ by" in provenance["third_derivatives"]


def test_shares_in_finite_fields_are_those_of_the_response(monkeypatch) -> None:
    which = level("HF")
    request = Request(properties=("alpha", "beta", "shares"))
    analytic = compute(WATER, which, request)
    monkeypatch.setattr(Reference, "why_not_analytic", "the test wants fields")
    in_fields = compute(WATER, which, request)
    assert "the test wants fields" in in_fields.provenance["response"]
    for name, shares in analytic.shares.items():
        np.testing.assert_allclose(in_fields.shares[name], shares, atol=1e-4)


def test_a_frequency_on_a_pole_is_named() -> None:
    which = level("HF", basis="STO-3G")
    with ground_state(WATER, which, Resources()) as reference:
        pole = _first_pole(reference, which)
        with pytest.raises(InputError, match="pole"):
            tensors(reference, which, Request(properties=("alpha",), frequencies=(pole,)))


def test_twice_a_frequency_near_a_pole_is_warned_of() -> None:
    which = level("HF", basis="STO-3G")
    with ground_state(WATER, which, Resources()) as reference:
        pole = _first_pole(reference, which)
        for distance, near in ((0.002, True), (0.05, False)):
            request = Request(
                properties=("beta",), processes=("shg",), frequencies=((pole - distance) / 2.0,)
            )
            provenance = tensors(reference, which, request).provenance
            assert any("near a pole" in text for text in provenance["warnings"]) == near
            assert provenance["first_excitation"] == pytest.approx(pole, abs=1e-3)


def test_above_the_first_pole_alpha_is_that_of_the_whole_matrix_and_warned_of() -> None:
    which = level("HF", basis="STO-3G")
    with ground_state(WATER, which, Resources()) as reference:
        above = _first_pole(reference, which) + 0.02
        result = tensors(reference, which, Request(properties=("alpha",), frequencies=(above,)))
        expected = _dense_polarizability(reference, above)
    np.testing.assert_allclose(result.polarizability[1].tensor, expected, atol=1e-5)
    assert any("above the first excitation" in text for text in result.provenance["warnings"])


def test_a_response_that_cannot_converge_is_an_error_with_its_residual() -> None:
    which = level("HF", response_convergence=1e-16)
    with (
        ground_state(WATER, which, Resources()) as reference,
        pytest.raises(ConvergenceError, match="response equations") as caught,
    ):
        tensors(reference, which, Request(properties=("alpha",)))
    assert 0.0 < caught.value.residual < 1e-8


def test_the_number_of_threads_changes_nothing() -> None:
    one, two = (compute(WATER, level("B3LYP"), Request(), threads=n) for n in (1, 2))
    np.testing.assert_allclose(
        two.hyperpolarizability[0].tensor, one.hyperpolarizability[0].tensor, atol=1e-6
    )


def _matrices(reference):
    """A + B, A - B and the operators' elements, from products with every unit vector."""
    from hpcml.response.fock import FockResponse

    fock = FockResponse(reference.channels, reference.two_electron(3), None)
    plus, minus = fock.plus_product(np.eye(fock.gaps.size))
    return plus, minus, fock.gradients(-reference.dipole_integrals)


def _first_pole(reference, which) -> float:
    """The lowest excitation that the dipole reaches, by full diagonalization."""
    plus, minus, gradients = _matrices(reference)
    squares, vectors = np.linalg.eig(minus @ plus)
    reached = np.linalg.norm(gradients @ vectors.real, axis=0) > 1e-3
    return float(np.sqrt(squares.real[reached].min()))


def _dense_polarizability(reference, frequency: float) -> np.ndarray:
    plus, minus, gradients = _matrices(reference)
    matrix = plus - frequency**2 * np.linalg.inv(minus)
    return 4.0 * gradients @ np.linalg.solve(matrix, gradients.T)
