"""Thin ROS 2 nodes over the cores of this package."""
