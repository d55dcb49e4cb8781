"""The embedded MuJoCo world of RoboFuME: tasks, scripted demonstrator, Gymnasium environment and the sim node."""
