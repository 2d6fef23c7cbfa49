"""A simulated flight as a bag: a drone circles a moving target; the truth lies beside it.

    python -m refdet_ros.bags.simulated_flight flight_bag

The ground is flat and textured, the camera has lens distortion, the drone rolls and pitches and its
gimbal nods. Every pixel is traced to the ground, so images, CameraInfo, TF and fixes agree exactly.
"""
