"""``make demo``: the real node on real footage, over DDS, measured."""
