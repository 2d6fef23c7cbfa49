"""The ROS 2 side of refdet: the node ``detector`` and tools for bags."""
