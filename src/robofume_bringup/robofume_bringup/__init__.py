"""The graph, launch files, parameters, reports and the robofume command of RoboFuME."""
