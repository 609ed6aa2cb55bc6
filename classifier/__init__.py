"""Which clips are good: labels, the labelling page, ResNet18, calibration and the decision.

Labels come from a page or a file (`labels`, `journal`, `page`), the network learns 5 against 1 (`training`), its
logits become probabilities (`calibration`), every clip gets one (`scoring`), and every clip is then kept, dropped
or left for review with a reason (`decision`). Genie App. B.1 is the recipe; docs name what differs.
"""
