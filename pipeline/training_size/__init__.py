"""How large a training is, by formula: parameters, memory, and what would fit; torch is not needed."""
