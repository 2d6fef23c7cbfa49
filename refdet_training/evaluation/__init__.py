"""Evaluation of a bundle: protocols, metrics, calibration and reports."""
