"""Where on the map a detection is."""
