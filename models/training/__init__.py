"""Training of the tokenizer, and of latent actions and dynamics: data, loop, optimizer, checkpoints."""
