"""QM9 in the three forms in which it is published.

Ramakrishnan, Dral, Rupp and von Lilienfeld, Sci. Data 1, 140022 (2014): 133,885 molecules with
up to nine heavy atoms at B3LYP/6-31G(2df,p); 3,054 of them did not keep their bonds and are left
out by everyone.

qm9pack   the wheel (or its folder): CSV files, and the polarizability tensor besides
tar       dsgdb9nsd.xyz.tar.bz2, one xyz file a molecule; the 3,054 are named in
          uncharacterized.txt, which has to lie beside it
SDF+CSV   gdb9.sdf with gdb9.sdf.csv, and uncharacterized.txt beside them
"""

from __future__ import annotations

import csv
import io
import tarfile
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import ArrayLike, NDArray
from rdkit import Chem, rdBase

from hpcml.errors import InputError
from hpcml.molecules.molecule import Molecule, atomic_number
from hpcml.molecules.records import Defect, printable

SCALARS = ("A", "B", "C", "mu", "alpha", "homo", "lumo", "gap", "r2", "zpve",
           "u0", "u298", "h298", "g298", "cv")  # fmt: skip
"""The published properties, in the order of the xyz files' second line: GHz (A, B, C), debye
(mu), bohr^3 (alpha), bohr^2 (r2), cal mol^-1 K^-1 (cv), the others hartree."""

_QM9PACK_SCALARS = (
    *("RotA_GHz", "RotB_GHz", "RotC_GHz", "Dipole_debye", "Polarizability_bohr3", "HOMO_au"),
    *("LUMO_au", "HOMO_LUMO_gap_au", "R2_bohr2", "ZPVE_au", "InternalEnergy_0K_au"),
    *("InternalEnergy_298K_au", "Enthalphy_298K_au", "GibbsFreeEnergy_298K_au"),
    "Heatcapacity_Cv_cal_mol_K",
)
_PARTS = ("qm9_part1.csv", "qm9_part2.csv", "qm9_part3.csv")
_TENSOR = "qm9_polarizability.csv"
_XX_XY_YY_XZ_YZ_ZZ = ((0, 1, 3), (1, 2, 4), (3, 4, 5))
_HARTREE_PER_WAVENUMBER = 4.556335252912e-6  # CODATA 2018
_GDB9_MOLECULES = 133_885
_REFUSED_MOLECULES = 3_054
_TITLE_LINES = 9  # of uncharacterized.txt
_LARGEST_MEMBER = 1 << 20  # bytes of an xyz file in the tar


@dataclass(frozen=True)
class Qm9Record:
    """One molecule of QM9 as published.

    number          index in QM9, 1 to 133885
    scalars         name of ``SCALARS`` -> value, published units
    frequencies     (3n - 6 or 3n - 5,) cm^-1, ascending, imaginary ones negative
    mulliken        (n,) charges in e: results, never inputs of a model
    polarizability  (3, 3) bohr^3 in a frame that is not that of the positions
    warnings        what is odd about this record
    """

    number: int
    molecule: Molecule
    scalars: dict[str, float]
    frequencies: NDArray[np.float64] | None = None
    mulliken: NDArray[np.float64] | None = None
    polarizability: NDArray[np.float64] | None = None
    inchi: str = ""
    warnings: list[str] = field(default_factory=list)


def read_qm9(
    source: Path | str, warn: Callable[[str], None] = warnings.warn
) -> Iterator[Qm9Record | Defect]:
    """Every molecule of QM9, from whichever of the three forms ``source`` is.

    source   the qm9pack wheel or its folder; the published tar or a folder of its xyz files;
             gdb9.sdf, with gdb9.sdf.csv beside it.  A folder that holds one of them will do.
    warn     is told what is odd about the source as a whole

    Raises InputError if it is none of them, or if uncharacterized.txt is missing beside the tar
    or the SDF or names no molecule.
    """
    path = Path(source)
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    if path.is_dir():
        found = [*path.rglob(_PARTS[0]), *path.glob("gdb9.sdf"), *path.glob("*.xyz.tar*")]
        if not found and next(path.glob("dsgdb9nsd_*.xyz"), None) is not None:
            return _from_xyz(_files_in_folder(path), path, _uncharacterized(path, warn))
        if not found:
            raise InputError(f"{path}: holds neither qm9pack's CSV files, xyz files nor gdb9.sdf")
        path = found[0]
    if path.name == _PARTS[0]:
        return _from_qm9pack(path.parent)
    if path.suffix in (".whl", ".zip"):
        return _from_qm9pack(path)
    if path.suffix == ".sdf":
        return _from_sdf(path, _uncharacterized(path.parent, warn))
    if ".tar" in path.suffixes:
        return _from_xyz(_files_in_tar(path), path, _uncharacterized(path.parent, warn))
    raise InputError(f"{path}: expected the qm9pack wheel, dsgdb9nsd.xyz.tar.bz2 or gdb9.sdf")


def settled_frequencies(
    listed: NDArray[np.float64], atoms: int, zpve: float
) -> tuple[NDArray[np.float64], list[str]]:
    """The harmonic frequencies (cm^-1) and what is odd about them.

    334 molecules list theirs twice, the second list being the one whose sum is the published
    zero-point energy.

    Parameters
    ----------
    listed : (M,) float64 array
        As published, cm^-1.
    atoms : int
    zpve : float
        Zero-point energy, hartree.

    Returns
    -------
    frequencies : (3N - 6,) or (3N - 5,) float64 array
        cm^-1, imaginary ones negative.
    warnings : list of str
        What is odd about them.

    Raises
    ------
    InputError
        Where there are neither 3N - 6 nor 3N - 5 nor twice as many.
    """
    oddities = []
    modes = {3 * atoms - 6, 3 * atoms - 5} if atoms > 2 else {1}
    if len(listed) not in modes and len(listed) / 2 in modes:
        listed = listed[len(listed) // 2 :]
        oddities.append("frequencies were listed twice; the second list is kept")
    if len(listed) not in modes:
        raise InputError(f"{atoms} atoms cannot have {len(listed)} vibrations")
    imaginary = int((listed < 0).sum())
    if imaginary:
        oddities.append(f"{imaginary} imaginary frequencies")
    half_sum = 0.5 * float(listed[listed > 0].sum()) * _HARTREE_PER_WAVENUMBER
    if abs(half_sum - zpve) > 1e-5:
        oddities.append(f"half the sum of the frequencies is {half_sum:.6f} Eh, zpve {zpve:.6f}")
    return listed, oddities


def _from_qm9pack(path: Path) -> Iterator[Qm9Record | Defect]:
    with ExitStack() as stack:
        if path.is_dir():
            opener: Callable[[str], IO[bytes]] = lambda name: (path / name).open("rb")  # noqa: E731
        else:
            try:
                archive = stack.enter_context(zipfile.ZipFile(path))
            except zipfile.BadZipFile as error:
                raise InputError(f"{path}: {error}") from error
            members = {Path(name).name: name for name in archive.namelist()}
            missing = [name for name in (*_PARTS, _TENSOR) if name not in members]
            if missing:
                raise InputError(f"{path}: holds no {missing[0]}; is it the qm9pack wheel?")
            opener = lambda name: archive.open(members[name])  # noqa: E731
        with opener(_TENSOR) as raw:
            rows = csv.reader(io.TextIOWrapper(raw, "utf-8"))
            next(rows, None)
            tensors = {row[0]: row[1:] for row in rows if row}
        for part in _PARTS:
            with opener(part) as raw:
                for row in csv.DictReader(io.TextIOWrapper(raw, "utf-8", newline=""), restval=""):
                    name = str(row.get("XYZ_file"))
                    try:
                        yield _qm9pack_record(row, tensors[name])
                    except (InputError, ValueError, KeyError, TypeError, IndexError) as error:
                        yield Defect(str(path), part, name, f"{type(error).__name__}: {error}")


def _qm9pack_record(row: dict[str, str], tensor: list[str]) -> Qm9Record:
    elements = row["Elements"].strip("[]").replace("'", "").split(",")
    if len(elements) != int(row["N_atoms"]):
        raise InputError(f"N_atoms is {row['N_atoms']}, and there are {len(elements)} elements")
    scalars = dict(zip(SCALARS, (float(row[name]) for name in _QM9PACK_SCALARS), strict=True))
    components = [float(word) for word in tensor]
    polarizability = np.array([[components[i] for i in line] for line in _XX_XY_YY_XZ_YZ_ZZ])
    isotropic = float(np.trace(polarizability)) / 3.0
    if abs(isotropic - scalars["alpha"]) > 0.01:
        raise InputError(f"tensor has the mean {isotropic:.3f}, the table says {scalars['alpha']}")
    return _record(
        int(row["Index"]),
        elements,
        _numbers(row["XYZ_Ang"]).reshape(-1, 3),
        row["SMILES"],
        scalars,
        frequencies=_numbers(row["Harmonic_Freq_cmi"]),
        mulliken=_numbers(row["Mulliken_pop"]),
        polarizability=polarizability,
        inchi=row["InChi"],
    )


def _numbers(text: str) -> NDArray[np.float64]:
    """The numbers of a nested list written as text, flat."""
    return np.array(text.replace("[", "").replace("]", "").split(","), np.float64)


def _record(
    number: int,
    elements: list[str],
    positions: NDArray[np.float64],
    smiles: str,
    scalars: dict[str, float],
    *,
    frequencies: NDArray[np.float64] | None = None,
    mulliken: NDArray[np.float64] | None = None,
    polarizability: NDArray[np.float64] | None = None,
    inchi: str = "",
) -> Qm9Record:
    """Every molecule of QM9 is neutral and a singlet; zwitterions show charges in the SMILES."""
    measured: dict[str, ArrayLike | None] = {
        **scalars,
        "a position": positions,
        "a frequency": frequencies,
        "a charge": mulliken,
        "polarizability": polarizability,
    }
    for name, values in measured.items():
        if values is not None and not np.isfinite(values).all():
            raise InputError(f"{name} is not a number")
    numbers = np.array([_ATOMIC_NUMBER.get(e) or atomic_number(e) for e in elements])
    molecule = Molecule(numbers, positions, 0, 1, f"gdb_{number}", printable(smiles))
    if molecule.electrons % 2:
        raise InputError("has an odd number of electrons")
    if mulliken is not None and mulliken.shape != numbers.shape:
        raise InputError(f"{len(numbers)} atoms and {len(mulliken)} Mulliken charges")
    oddities: list[str] = []
    if frequencies is not None:
        frequencies, oddities = settled_frequencies(frequencies, len(numbers), scalars["zpve"])
    return Qm9Record(
        number, molecule, scalars, frequencies, mulliken, polarizability, inchi, oddities
    )


_ATOMIC_NUMBER = {"H": 1, "C": 6, "N": 7, "O": 8, "F": 9}


def _uncharacterized(folder: Path, warn: Callable[[str], None]) -> set[int]:
    """The numbers of the 3,054 molecules that the authors' consistency check refused."""
    path = folder / "uncharacterized.txt"
    if not path.exists():
        raise InputError(
            f"{path} is missing: it names the 3,054 molecules that are no part of QM9 and comes "
            "with the published files"
        )
    lines = [line.split() for line in path.read_text("utf-8-sig", "replace").splitlines()]
    # Nine lines of title stand before the table, the last of them no row; rules of dashes may
    # stand anywhere.  A list of bare numbers has neither.
    head = lines[:_TITLE_LINES]
    text = [i for i, words in enumerate(head, 1) if not (_is_row(words) or _is_rule(words))]
    start = max(text, default=0)
    if len(head) == _TITLE_LINES and not _is_row(head[-1]):
        start = _TITLE_LINES
    table = [(i, words) for i, words in enumerate(lines[start:], start + 1) if not _is_rule(words)]
    numbers = set()
    for i, words in table:
        if not _is_row(words) or not 1 <= int(words[0]) <= _GDB9_MOLECULES:
            raise InputError(f"{path} line {i}: begins with no number of a molecule of QM9")
        numbers.add(int(words[0]))
    if not numbers:
        raise InputError(f"{path}: names no molecule; it is empty or cut short")
    if len(numbers) != _REFUSED_MOLECULES:
        warn(
            f"{path}: names {len(numbers):,} molecules where the published file names "
            f"{_REFUSED_MOLECULES:,}; the others of these are taken for part of QM9"
        )
    return numbers


def _is_row(words: list[str]) -> bool:
    """Whether a line begins with a number."""
    return bool(words) and words[0].isascii() and words[0].isdigit()


def _is_rule(words: list[str]) -> bool:
    """Whether a line is empty or drawn."""
    return set("".join(words)) <= set("-=_*")


def _files_in_folder(folder: Path) -> Iterator[tuple[str, str]]:
    for path in sorted(folder.glob("dsgdb9nsd_*.xyz")):
        yield path.name, path.read_text(errors="replace")


def _files_in_tar(path: Path) -> Iterator[tuple[str, str]]:
    """Name and text of each xyz file; nothing is unpacked to the disk."""
    try:
        with tarfile.open(path, "r|*") as archive:
            for member in archive:
                if not member.isfile() or not member.name.endswith(".xyz"):
                    continue
                if member.size > _LARGEST_MEMBER:
                    raise InputError(f"{path}: {member.name} has {member.size} bytes")
                stream = archive.extractfile(member)
                if stream is not None:
                    yield Path(member.name).name, stream.read().decode(errors="replace")
    except (tarfile.TarError, EOFError, OSError) as error:
        raise InputError(f"{path}: {error}") from error


def _from_xyz(
    files: Iterator[tuple[str, str]], source: Path, refused: set[int]
) -> Iterator[Qm9Record | Defect]:
    for name, text in files:
        try:
            record = _xyz_record(text)
        except (InputError, ValueError, IndexError) as error:
            yield Defect(str(source), name, name, f"{type(error).__name__}: {error}")
        else:
            if record.number not in refused:
                yield record


def _xyz_record(text: str) -> Qm9Record:
    """One file: number of atoms; ``gdb N`` and 15 properties; atoms with Mulliken charges;
    frequencies; SMILES of GDB-17 and of the relaxed geometry; InChI of both."""
    lines = text.replace("*^", "e").splitlines()  # 2.1997*^-6 is how Mathematica wrote 2.1997e-6
    atoms = int(lines[0])
    tag, number, *words = lines[1].split()
    if tag != "gdb" or len(words) != len(SCALARS) or atoms < 1 or len(lines) < atoms + 5:
        raise InputError("expected 'gdb', a number and 15 properties, then atoms and three lines")
    table = [line.split() for line in lines[2 : 2 + atoms]]
    if any(len(row) != 5 for row in table):
        raise InputError("an atom's line has not five words")
    return _record(
        int(number),
        [row[0] for row in table],
        np.array([[float(word) for word in row[1:4]] for row in table]),
        lines[atoms + 3].split()[0],
        dict(zip(SCALARS, map(float, words), strict=True)),
        frequencies=np.array([float(word) for word in lines[atoms + 2].split()]),
        mulliken=np.array([float(row[4]) for row in table]),
        inchi=lines[atoms + 4].split()[0],
    )


def _from_sdf(path: Path, refused: set[int]) -> Iterator[Qm9Record | Defect]:
    table_path = path.with_name(path.name + ".csv")
    if not table_path.exists():
        raise InputError(f"{table_path} is missing: the properties of {path.name} are in it")
    with (
        path.open(encoding="utf-8", errors="replace") as structures,
        table_path.open(encoding="utf-8", errors="replace", newline="") as table,
        rdBase.BlockLogs(),
    ):
        for row, block in zip(csv.DictReader(table, restval=""), _blocks(structures), strict=False):
            name = str(row.get("mol_id"))
            try:
                record = _sdf_record(row, block)
            except (InputError, ValueError, KeyError, TypeError, IndexError) as error:
                yield Defect(str(path), name, name, f"{type(error).__name__}: {error}")
            else:
                if record.number not in refused:
                    yield record


def _blocks(lines: IO[str]) -> Iterator[str]:
    block: list[str] = []
    for line in lines:
        if line.startswith("$$$$"):
            yield "".join(block)
            block = []
        else:
            block.append(line)


def _sdf_record(row: dict[str, str], block: str) -> Qm9Record:
    name = row["mol_id"]
    if block.split("\n", 1)[0].strip() != name:
        raise InputError("the SDF's record at this place is another molecule")
    # Unsanitized: the bonds were guessed from the geometry, and some carry impossible valences.
    mol = Chem.MolFromMolBlock(block, sanitize=False, removeHs=False)
    if mol is None:
        raise InputError("is no MOL block")
    positions = mol.GetConformer().GetPositions()
    elements = [atom.GetSymbol() for atom in mol.GetAtoms()]
    smiles = ""
    if Chem.SanitizeMol(mol, catchErrors=True) == Chem.SanitizeFlags.SANITIZE_NONE:
        smiles = Chem.MolToSmiles(Chem.RemoveHs(mol))
    scalars = {name: float(row[name]) for name in SCALARS}
    return _record(int(name.removeprefix("gdb_")), elements, positions, smiles, scalars)
