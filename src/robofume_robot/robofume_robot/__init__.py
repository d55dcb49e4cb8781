"""What touches the robot: camera ingestion, arm control, safety envelope, kinematics and backends."""
