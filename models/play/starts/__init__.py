"""What a game can start from: held-out frames, uploaded pictures, sketches."""
