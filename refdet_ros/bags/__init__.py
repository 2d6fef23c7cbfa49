"""Reading, writing, playing and scoring rosbag2 bags."""
