"""Computes where detections are on the map."""
