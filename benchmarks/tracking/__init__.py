"""The parts of the tracker benchmark, :mod:`benchmarks.trackers`."""
