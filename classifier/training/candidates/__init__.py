"""Ways to score a clip, behind one interface (`scorer.py`), which are compared before one of them is published."""
