"""Data sets of episodes (arrays, HDF5, LeRobot) as a folder of videos, each with its true actions beside it."""
