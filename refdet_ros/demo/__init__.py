"""``make demo``: runs the node on real footage over DDS and measures it."""
