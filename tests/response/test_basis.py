"""Basis sets: which source wins, what is refused, and that Psi4 builds the same functions."""

from __future__ import annotations

from pathlib import Path

import basis_set_exchange
import numpy as np
import psi4
import pytest

from hpcml.errors import InputError, SettingsError
from hpcml.response.basis import BasisSet, resolve

GAUSSIAN_SET = Path(__file__).parents[3] / "jobs" / "6-31G_2df_p.gbs"
WATER = "O 0.0 0.0 0.1173\nH 0.0 0.7572 -0.4692\nH 0.0 -0.7572 -0.4692\nunits angstrom\n"


@pytest.fixture(scope="module")
def library() -> Path:
    return Path(psi4.core.get_datadir()) / "basis"


def _functions(basis: BasisSet, geometry: str = WATER) -> psi4.core.BasisSet:
    """The functions that Psi4 makes of the text (or the name)."""
    molecule = psi4.geometry(geometry)
    if basis.text is None:
        return psi4.core.BasisSet.build(molecule, "ORBITAL", basis.name, quiet=True)
    text = basis.text

    def assign(mol: psi4.core.Molecule, role: str) -> dict[str, str]:
        mol.set_basis_all_atoms("resolved", role=role)
        return {"resolved": text}

    return psi4.core.BasisSet.build(molecule, "ORBITAL", assign, quiet=True)


def _shared_directions(a: psi4.core.BasisSet, b: psi4.core.BasisSet) -> np.ndarray:
    """Cosines of the principal angles between two spans: all 1 where the spans are the same."""
    mints = psi4.core.MintsHelper(a)

    def half_inverse(functions: psi4.core.BasisSet) -> np.ndarray:
        values, vectors = np.linalg.eigh(np.asarray(mints.ao_overlap(functions, functions)))
        return vectors / np.sqrt(values)

    cross = np.asarray(mints.ao_overlap(a, b))
    return np.linalg.svd(half_inverse(a).T @ cross @ half_inverse(b), compute_uv=False)


def test_psi4_has_the_first_word(library: Path) -> None:
    basis = resolve("6-31+G(d)", [1, 8], library)
    assert (basis.source, basis.detail, basis.text) == ("psi4", "6-31pg_d_.gbs", None)
    assert not basis.spherical
    assert resolve("AUG-cc-pvdz", [1, 8], library).spherical
    assert resolve("aug-cc-pVDZ", [1], library).sha256 != basis.sha256


def test_the_exchange_fills_in(library: Path) -> None:
    basis = resolve("Sadlej pVTZ", [1, 8], library)
    assert basis.source == "basis_set_exchange"
    assert basis_set_exchange.version() in basis.detail
    assert basis.warnings == ()
    # Sadlej 1988: 5s 3p 2d on O, 3s 2p on H.
    assert _functions(basis).nbf() == (5 + 9 + 10) + 2 * (3 + 6)


@pytest.mark.parametrize(
    ("name", "geometry"),
    [
        ("cc-pVDZ", WATER),
        ("aug-pcseg-1", WATER),
        ("6-31G*", WATER),  # written with Fortran's D exponents by the exchange
        ("def2-SVP", "H 0 0 0\nI 0 0 1.61\nunits angstrom\n"),
    ],
)
def test_exchange_and_psi4_agree_where_both_have_a_set(
    name: str, geometry: str, library: Path, tmp_path: Path
) -> None:
    elements = psi4.geometry(geometry)
    numbers = [round(elements.Z(i)) for i in range(elements.natom())]
    own = resolve(name, numbers, library)
    other = resolve(name, numbers, tmp_path)  # an empty library: the exchange's own set
    assert (own.source, other.source) == ("psi4", "basis_set_exchange")
    for basis in (own, other):
        assert basis.functions == _functions(basis, geometry).nbf()
    cosines = _shared_directions(_functions(own, geometry), _functions(other, geometry))
    np.testing.assert_allclose(cosines, 1.0, atol=1e-9)


def test_gaussians_and_the_exchanges_6_31g_2df_p_are_told_apart(library: Path) -> None:
    gaussian = resolve(str(GAUSSIAN_SET), [1, 8], library)
    exchange = resolve("6-31G(2df,p)", [1, 8], library)
    assert gaussian.source == "file"
    assert gaussian.spherical
    assert gaussian.sha256 != exchange.sha256
    assert gaussian.warnings == ()
    assert "QM9" in exchange.warnings[0]
    # O: 3 s, 2 p, 2 d, 1 f; H: 2 s and one p against two.
    assert _functions(gaussian).nbf() == (3 + 6 + 10 + 7) + 2 * 5
    assert _functions(exchange).nbf() == (3 + 6 + 10 + 7) + 2 * 8


def test_hash_sees_functions_and_not_comments(tmp_path: Path, library: Path) -> None:
    plain = "spherical\n****\nH 0\nS 1 1.00\n 1.0 1.0\n****\n"
    (tmp_path / "a.gbs").write_text(plain)
    (tmp_path / "b.gbs").write_text(plain.replace("H 0", "! hydrogen\n\nH    0  ! here"))
    (tmp_path / "c.gbs").write_text(plain.replace(" 1.0 1.0", " 1.1 1.0"))
    a, b, c = (resolve(str(tmp_path / f"{name}.gbs"), [1], library) for name in "abc")
    assert a.sha256 == b.sha256 != c.sha256
    assert a.text == plain.replace("\n 1.0", "\n1.0")


def test_effective_core_potentials_are_told(library: Path, tmp_path: Path) -> None:
    for folder, source in ((library, "psi4"), (tmp_path, "basis_set_exchange")):
        basis = resolve("def2-SVP", [1, 53], folder)
        assert (basis.source, basis.ecp) == (source, ("I",))
        assert resolve("def2-SVP", [1, 6], folder).ecp == ()


def test_every_orbital_set_of_psi4_can_be_read(library: Path) -> None:
    read = 0
    for path in library.glob("*.gbs"):
        try:
            resolve(path.stem, [], library)
            read += 1
        except SettingsError as error:
            assert "density fitting" in str(error), path
    assert read > 250


@pytest.mark.parametrize("source", ["psi4", "basis_set_exchange", "file"])
def test_missing_element_is_named(source: str, library: Path, tmp_path: Path) -> None:
    name = str(GAUSSIAN_SET) if source == "file" else "aug-cc-pVDZ"
    folder = tmp_path if source == "basis_set_exchange" else library
    with pytest.raises(InputError, match=rf"{source}.*no functions for Fm, Pu") as caught:
        resolve(name, [1, 94, 100], folder)
    assert name in str(caught.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("aug-cc-pVDZZ", "did you mean aug-cc-pVDZ or"),
        ("6-31+G(dd)", r"6-31\+G\(d\)"),
        ("completely wrong", "path of a .gbs file"),
        ("def2-universal-jkfit", "not for orbitals"),
        ("cc-pvdz-jkfit", "not for orbitals"),
        ("absent.gbs", "absent.gbs does not exist"),
    ],
)
def test_unknown_names_get_advice(name: str, message: str, library: Path) -> None:
    with pytest.raises(SettingsError, match=message):
        resolve(name, [1], library)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("spherical\n", "no functions at all"),
        ("H 0\nS 1 1.00\n1.0 1.0\n", "closing"),
        ("H 0\nS 2 1.00\n1.0 1.0\n****\n", "line 4: a primitive of 2 numbers"),
        ("H 0\nS 1 1.00\n1.0 x\n****\n", "line 3: a primitive of 2 numbers"),
        ("H 0\nS 1 1.20\n1.0 1.0\n****\n", "line 2: a scale factor of 1.00"),
        ("H 0\nSPD 1 1.00\n1.0 1.0 1.0 1.0\n****\n", "line 2: a shell"),
        ("H 0\nS 1 1.00\n", "end of file"),
        ("<html>\n\x00\x01", "gbs format"),
    ],
)
def test_damaged_files_are_refused(text: str, message: str, tmp_path: Path, library: Path) -> None:
    path = tmp_path / "damaged.gbs"
    path.write_text(text)
    with pytest.raises(SettingsError, match=message):
        resolve(str(path), [1], library)


def test_damage_matters_only_to_those_who_need_the_element(tmp_path: Path, library: Path) -> None:
    # Psi4 1.3.2 ships def2-QZVP with a coefficient missing in each of Rb, Sr, Cs and Ba.
    path = tmp_path / "half.gbs"
    path.write_text("spherical\nH 0\nS 1 1.00\n1.0 1.0\n****\nRb 0\nF 1 1.00\n .85245\n****\n")
    assert resolve(str(path), [1], library).source == "file"
    with pytest.raises(SettingsError, match=r"line 8: a primitive of 2 numbers is needed"):
        resolve(str(path), [1, 37], library)


def test_a_file_that_does_not_say_is_taken_as_psi4_does(tmp_path: Path, library: Path) -> None:
    path = tmp_path / "silent.gbs"
    path.write_text("-O H 0\nD 1 1.00\n 0.8D+00 1.0\n****\n")
    basis = resolve(str(path), [1, 8], library)
    assert basis.spherical
    assert "spherical or cartesian" in basis.warnings[0]
    assert _functions(basis).nbf() == 15
