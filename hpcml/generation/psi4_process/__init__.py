"""What hangs below a rank: its keeper, and the Psi4 process that it replaces at will."""
