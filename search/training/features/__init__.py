"""Training heads on the features of a frozen backbone."""
