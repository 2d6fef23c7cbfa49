"""Where to look in each frame, and how to keep a target from frame to frame."""
