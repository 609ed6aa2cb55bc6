"""Takedown: remove everything that a root and its home hold of a video or a channel, and say what had seen it."""
