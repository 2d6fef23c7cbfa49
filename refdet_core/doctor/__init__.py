"""``refdet doctor``: what this machine has, and what is wrong with it.

Standard library only, so that it works where the packages that it looks for are missing.
"""
