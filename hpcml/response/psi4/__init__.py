"""Everything that knows Psi4: one engine behind the protocol of `hpcml.response.engine`."""
