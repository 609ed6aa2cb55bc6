"""An inverse-dynamics network: which true action led from one frame to the next, read from the frames alone."""
