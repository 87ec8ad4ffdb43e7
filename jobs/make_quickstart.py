"""Write jobs/quickstart.xyz: the first molecules of GDB-9, from the wheel of qm9pack 1.0.3.

    pip download --no-deps qm9pack==1.0.3
    python jobs/make_quickstart.py qm9pack-1.0.3-py3-none-any.whl

Geometries (B3LYP/6-31G(2df,p)) and SMILES are those of QM9: R. Ramakrishnan, P. O. Dral,
M. Rupp, O. A. von Lilienfeld, Sci. Data 1, 140022 (2014).
"""

from __future__ import annotations

import csv
import io
import re
import sys
import zipfile
from pathlib import Path

import numpy as np

from hpcml.molecules import Molecule, atomic_number, write_extended_xyz

MOLECULES = 80
PART = "qm9pack/data/qm9_part1.csv"
SOURCE = "QM9, Sci. Data 1, 140022 (2014), via qm9pack 1.0.3"


def first_molecules(wheel: str, count: int) -> list[Molecule]:
    """The first ``count`` molecules of the wheel, named by their GDB-9 index."""
    molecules = []
    with zipfile.ZipFile(wheel) as archive, archive.open(PART) as part:
        for row, _ in zip(csv.DictReader(io.TextIOWrapper(part)), range(count), strict=False):
            elements = re.findall(r"[A-Z][a-z]?", row["Elements"])
            # Mathematica's way of writing numbers: "1." and "2.1*^-6"
            coordinates = re.findall(r"[-\d][-.\d*^eE]*", row["XYZ_Ang"])
            molecules.append(
                Molecule(
                    np.array([atomic_number(element) for element in elements]),
                    np.array([float(x.replace("*^", "e")) for x in coordinates]).reshape(-1, 3),
                    name=f"gdb_{int(row['Index']):06d}",
                    smiles=row["SMILES"],
                )
            )
    return molecules


if __name__ == "__main__":
    destination = Path(__file__).with_name("quickstart.xyz")
    write_extended_xyz(destination, first_molecules(sys.argv[1], MOLECULES), source=SOURCE)
    print(destination)
