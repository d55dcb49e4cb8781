"""Learning in RoboFuME: replay memory, Cal-QL agents, pre-training, online learner and policy node."""
