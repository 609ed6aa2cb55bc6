"""Clips scored by the published classifier, then kept, dropped or put up for review."""
