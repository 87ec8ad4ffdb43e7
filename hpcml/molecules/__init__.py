"""What is computed: molecules, the files they come from, and their features as graphs."""

from hpcml.molecules.bonds import perceive
from hpcml.molecules.conformers import molecule_from_smiles
from hpcml.molecules.constitution import Columns, constitutions, constitutions_in_blocks
from hpcml.molecules.features import ATOM_FEATURES, PAIR_FEATURES, Graph, graph
from hpcml.molecules.molecule import (
    Molecule,
    atomic_number,
    isotope_mass,
    molecule_keys,
    symbol,
)
from hpcml.molecules.readers import SUFFIXES, read, read_records
from hpcml.molecules.records import Defect, Record, restated
from hpcml.molecules.xyz import write_extended_xyz

__all__ = [
    "ATOM_FEATURES",
    "PAIR_FEATURES",
    "SUFFIXES",
    "Columns",
    "Defect",
    "Graph",
    "Molecule",
    "Record",
    "atomic_number",
    "constitutions",
    "constitutions_in_blocks",
    "graph",
    "isotope_mass",
    "molecule_from_smiles",
    "molecule_keys",
    "perceive",
    "read",
    "read_records",
    "restated",
    "symbol",
    "write_extended_xyz",
]
