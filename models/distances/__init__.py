"""Distances between sets of feature vectors, and between pictures, computed from arrays."""
