"""CoinRun of Procgen, the paper's case study (appendix F), recorded as a folder of videos with true actions.

`player` runs in an environment of its own (procgen needs numpy below 2; `make coinrun` makes it) and plays; `record`
runs here, starts it, encodes what it plays, and keeps what is there. `published` has the figures of other projects.
"""
