"""Benchmarks of the world model: training steps, played frames, parameter counts, tokenizers side by side."""
