"""Which clips are good: labels, the labelling page, ResNet18, calibration and the decision.

`labels` collects ratings from a page or a file, `training` fits a network that separates clips rated 5 from clips rated
1 and calibrates its logits to probabilities, and `decision` scores every clip and keeps it, drops it or leaves it for
review, with a reason. The recipe is Genie App. B.1; docs/data.md lists the tables.
"""

import pipeline  # noqa: F401 - before Arrow: it says which memory Arrow takes
