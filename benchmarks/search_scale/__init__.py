"""Accuracy against time for the scales at which a frame can be searched."""
