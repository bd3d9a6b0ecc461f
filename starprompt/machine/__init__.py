"""Where a run runs: devices, leases of GPUs, memory, numerics, signals."""
