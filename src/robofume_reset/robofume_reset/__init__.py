"""Forward/backward task switching, stuck handling and assisted resets of RoboFuME."""
