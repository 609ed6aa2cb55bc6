"""Networks whose features stand for videos and frames where fidelity is measured, each with its name and hash."""
