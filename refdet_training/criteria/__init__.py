"""What networks learn from a batch of pairs: targets and losses, one file for each kind of head."""
