"""The MPI program: the life of a rank, and rank 0's server.

generate_program   the entry: keeper, then MPI, then a rank's life
rank, mail         what every rank does; its messages by MPI
node_writer        what the first rank of a node does besides: rows of all its ranks written
server             what rank 0 hears and sends besides: desk (what became of each molecule),
                   dispatch (which rank gets which), work_queue (longest first)
"""
