"""How a network is run: device and dtype, CPU parallelism, weights on disk."""
