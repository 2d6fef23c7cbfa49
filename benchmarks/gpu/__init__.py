"""Measures an NVIDIA GPU: parity, speed, engines, detections, and a forecast for the Jetsons."""
