"""Trees of a city never trained on, found by exemplars."""
