import subprocess
import sys
import zipfile
from pathlib import Path

from hpcml.molecules import Molecule, read

JOBS = Path(__file__).parents[2] / "jobs"

ROW = '"{file}",{index},"{smiles}","InChI=...",{n},"[...]","{elements}","{positions}"\n'
TABLE = "XYZ_file,Index,SMILES,InChi,N_atoms,Stoichiometry,Elements,XYZ_Ang\n" + "".join(
    [
        ROW.format(file="dsgdb9nsd_000003.xyz", index=3, smiles="O", n=3,
                   elements="['O','H','H']", positions="[[0.,0.,0.1],[2.1*^-6,0.76,-0.5],"
                   "[1.2E-05,-0.76,-0.5]]"),
        ROW.format(file="dsgdb9nsd_000005.xyz", index=5, smiles="C#N", n=3,
                   elements="['C','N','H']", positions="[[0,0,0],[0,0,1.15],[0,0,-1.06]]"),
    ]
)  # fmt: skip


def test_the_script_reads_the_wheel_as_it_is_written(tmp_path: Path) -> None:
    """Mathematica's numbers (2.1*^-6, 1.) and C's beside each other, as in the real wheel."""
    wheel = tmp_path / "qm9pack.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("qm9pack/data/qm9_part1.csv", TABLE)
    script = tmp_path / "make_quickstart.py"
    script.write_text((JOBS / "make_quickstart.py").read_text())
    subprocess.run(
        [sys.executable, str(script), str(wheel)],
        check=True,
        env={"PYTHONPATH": str(JOBS.parent), "PATH": ""},
    )
    water, cyanide = read(tmp_path / "quickstart.xyz")
    assert isinstance(water, Molecule)
    assert isinstance(cyanide, Molecule)
    assert (water.name, water.formula, water.smiles) == ("gdb_000003", "H2O", "O")
    assert water.positions[:, 0].tolist() == [0.0, 2.1e-6, 1.2e-5]
    assert (cyanide.name, cyanide.symbols) == ("gdb_000005", ["C", "N", "H"])
