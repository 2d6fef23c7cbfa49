"""Training targets and losses, one file for each kind of head."""
