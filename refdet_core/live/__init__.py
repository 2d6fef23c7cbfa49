"""``refdet live``: shows a camera, stream or video; the user draws the target in it."""
