"""Building, checking and keeping TensorRT engines; :func:`~.cache.ready_engines` is the way in."""
