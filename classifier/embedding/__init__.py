"""What clips look like to a frozen network: one vector a clip, made once, for classifier, queue and search."""
