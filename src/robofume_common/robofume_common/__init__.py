"""What every RoboFuME node needs once: parameters from dataclasses, QoS profiles, message conversion, task descriptions, diagnostics."""
