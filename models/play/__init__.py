"""The page on which a person plays a world."""
