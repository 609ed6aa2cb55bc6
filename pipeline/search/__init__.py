"""Keyword search of a source: metadata, rules, journal, and the spot check."""
