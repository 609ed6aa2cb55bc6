"""The quality classifier: its examples, network, baselines, calibration, metrics, and what is published of it."""
