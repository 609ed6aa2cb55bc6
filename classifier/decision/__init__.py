"""From the published classifier to a decision on every clip: scores first, then the rule."""
