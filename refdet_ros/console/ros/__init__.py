"""The console's side towards ROS."""
