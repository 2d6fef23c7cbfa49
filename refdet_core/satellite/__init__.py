"""Search of satellite and aerial images by a few exemplars: ``refdet search-images``."""
