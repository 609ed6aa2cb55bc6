"""What labels are worth: how the classifier gets better with each, in a random and in an active order."""
