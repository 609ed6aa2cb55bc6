"""What a decision is worth: samples that people rate, estimates with intervals, slices, drift, what changed."""
