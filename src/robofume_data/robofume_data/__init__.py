"""Episodes, bags in and out, and the recorder node of RoboFuME."""
