"""The MPI program: the life of a rank, and rank 0's server.

generate_program   the entry: keeper, then MPI, then a rank's life
rank, mail         what every rank does; its messages by MPI
server             what rank 0 hears and sends besides: desk (what became of each molecule),
                   dispatch (which rank gets which), work_queue (longest first)
"""
