"""How fast refdet is, where the time goes, and how far that is from what the machine can do."""
