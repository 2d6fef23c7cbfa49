"""How good a bundle is: protocols, numbers, calibration and reports."""
