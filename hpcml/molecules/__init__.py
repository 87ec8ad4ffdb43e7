"""What is computed: molecules, the files they come from, and their features as graphs."""

from hpcml.molecules.bonds import perceive
from hpcml.molecules.conformers import molecule_from_smiles
from hpcml.molecules.features import ATOM_FEATURES, PAIR_FEATURES, Graph, graph
from hpcml.molecules.molecule import (
    Molecule,
    atomic_number,
    isotope_mass,
    molecule_keys,
    symbol,
)
from hpcml.molecules.readers import read
from hpcml.molecules.records import Defect, restated
from hpcml.molecules.xyz import write_extended_xyz

__all__ = [
    "ATOM_FEATURES",
    "PAIR_FEATURES",
    "Defect",
    "Graph",
    "Molecule",
    "atomic_number",
    "graph",
    "isotope_mass",
    "molecule_from_smiles",
    "molecule_keys",
    "perceive",
    "read",
    "restated",
    "symbol",
    "write_extended_xyz",
]
