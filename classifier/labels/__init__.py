"""Ratings by people: the labelling page, its journal, files in and out, and which clips to rate next."""
