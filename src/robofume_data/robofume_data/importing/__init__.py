"""Recordings of other robots and formats, turned into bags of episodes. Needs no ROS."""
