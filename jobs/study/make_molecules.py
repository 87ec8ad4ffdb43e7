"""Write the molecules of the study, drawn from GDB-9, as the extended XYZ files beside this script.

    pip download --no-deps qm9pack==1.0.3
    hpcml import qm9 qm9pack-1.0.3-py3-none-any.whl --to qm9
    python jobs/study/make_molecules.py qm9

small.xyz        up to seven heavy atoms: first all with up to six, then those with seven at random
held_out.xyz     a random sample with eight heavy atoms and one with nine, in turn
vibrations.xyz   all with up to five heavy atoms, then some with six at random, for optimization and
                 frequencies

Geometries (B3LYP/6-31G(2df,p)) and SMILES are those of QM9: R. Ramakrishnan, P. O. Dral,
M. Rupp, O. A. von Lilienfeld, Sci. Data 1, 140022 (2014).
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

import hpcml
from hpcml.molecules import write_extended_xyz

SEED = 2026
SOURCE = "QM9, Sci. Data 1, 140022 (2014), via qm9pack 1.0.3"
HELD_OUT_OF_EACH = 200
VIBRATIONS = 500


def write(dataset: Path, folder: Path) -> None:
    """Write the three files; each is in random order beyond what the docstring above says."""
    molecules = list(hpcml.open(dataset).molecules)
    heavy = np.array([int(np.count_nonzero(molecule.numbers > 1)) for molecule in molecules])
    random = np.random.default_rng(SEED)
    shuffled = random.permutation(len(molecules))
    shuffled_heavy = heavy[shuffled]

    def of(*counts: int) -> np.ndarray:
        return shuffled[np.isin(shuffled_heavy, counts)]

    eight, nine = of(8)[:HELD_OUT_OF_EACH], of(9)[:HELD_OUT_OF_EACH]
    chosen = {
        "small.xyz": np.concatenate([of(1, 2, 3, 4, 5, 6), of(7)]),
        "held_out.xyz": np.stack([eight, nine], axis=1).ravel(),
        "vibrations.xyz": np.concatenate([of(1, 2, 3, 4, 5), of(6)])[:VIBRATIONS],
    }
    for name, rows in chosen.items():
        write_extended_xyz(folder / name, [molecules[row] for row in rows], source=SOURCE)
        print(f"{folder / name}: {len(rows)} molecules")


if __name__ == "__main__":
    write(Path(sys.argv[1]), Path(__file__).parent)
