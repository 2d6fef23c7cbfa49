"""What an NVIDIA GPU says: parity, speed, engines, detections, and a forecast for the Jetsons."""
