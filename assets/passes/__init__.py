"""A full pass: what is due, in which order it runs, and what is recovered after a kill."""
