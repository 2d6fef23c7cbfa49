"""``refdet doctor``: describes this machine's set-up and its problems.

Uses only the standard library, so that it works even if the packages it checks are missing.
"""
