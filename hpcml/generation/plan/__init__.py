"""The launcher's side before it starts anything: what is missing, what it costs, who gets it."""
