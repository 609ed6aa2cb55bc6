"""The quality classifier: its examples, network, baselines, calibration and metrics."""
