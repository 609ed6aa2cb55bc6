"""The networks of the paper and their building blocks: patches in, tokens, latent actions and logits out."""
