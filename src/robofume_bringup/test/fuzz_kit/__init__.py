"""Hostile input at every boundary, from a seed: `values` makes it, `messages` and `boundaries` feed it in."""
