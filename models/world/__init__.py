"""A trained world: the three networks together, MaskGIT sampling, and sessions that keep past frames."""
