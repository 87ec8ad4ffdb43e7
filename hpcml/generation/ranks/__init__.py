"""The MPI program: the life of a rank, and rank 0's server."""
