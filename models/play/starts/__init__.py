"""The frames that a game can start from."""
