"""The world model: tokenizer, latent actions, dynamics, their training, their evaluation and the play page."""
