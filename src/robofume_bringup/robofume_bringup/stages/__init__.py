"""The stages of a run: each one a function, used by its own command and by `robofume demo`."""
