"""The operator's console in the browser, a client of the detector's topics and services.

``ros/`` talks to ROS, ``server.py`` to the browsers; what lies between knows neither.
"""
