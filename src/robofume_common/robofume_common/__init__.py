"""What every RoboFuME node needs once: parameters, QoS profiles, message conversion, start-up, tasks."""
