"""Studies: experiments that train and measure several small models, and say what differs between them.

`cells` keeps each measured part of a study, so that a study that was killed goes on after its last part.
"""
