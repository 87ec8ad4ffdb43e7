"""What is computed: molecules, the files they come from, and their features as graphs."""

from hpcml.molecules.molecule import Molecule, atomic_number, symbol

__all__ = ["Molecule", "atomic_number", "symbol"]
