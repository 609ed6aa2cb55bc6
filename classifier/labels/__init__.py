"""Ratings by people: which clips to rate next, the labelling page and its journal, files in and out."""
