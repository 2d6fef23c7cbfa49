"""``refdet live``: a camera, stream or video on the screen, and the target drawn in it by hand."""
