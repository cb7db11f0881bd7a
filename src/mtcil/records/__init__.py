"""Records of runs: their measures and their tables."""
