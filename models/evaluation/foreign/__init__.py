"""A judge for the rollouts of any project: a folder of true and generated videos, and the figures of them."""
