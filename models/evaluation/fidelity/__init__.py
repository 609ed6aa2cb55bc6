"""How near generated videos are to true ones: distances of sets and of pairs, each with its floors and its interval."""
