"""How far a world is guessing: signals of each frame, calibrated against the true error of held-out rollouts."""
