"""The embedded MuJoCo world of RoboFuME: tasks, demonstrator, Gymnasium environment, sim node."""
