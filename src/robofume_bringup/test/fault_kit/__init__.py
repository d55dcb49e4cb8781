"""Faults on purpose: what strikes the nodes of a real graph, and who watches that every promise is kept meanwhile.

`hooks` is the wrapper that a node runs in, `deck` the faults there are, `rig` the graph that they strike, `witness`
listens to the graph, and `verdict` compares what was heard with what was kept.
"""
