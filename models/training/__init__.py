"""Training of the tokenizer and of the latent actions with the dynamics: data, loop, optimizer, checkpoints."""
