"""Labels for video without boxes: what several trackers agree on."""
