"""True actions of recordings: sidecars beside videos, the actions of each transition of a clip, one value of each."""
