"""Records of runs: the measures in them, and the tables that hold them."""
