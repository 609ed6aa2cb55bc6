"""The world model: tokenizer, latent actions, dynamics, their training, their evaluation and the play page."""

import pipeline  # noqa: F401 - before Arrow: it says which memory Arrow takes
