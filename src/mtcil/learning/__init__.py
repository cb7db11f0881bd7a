"""What a run learns: base step, incremental steps, losses, memory, probes."""
