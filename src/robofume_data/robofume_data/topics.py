"""Topics that a recording holds, and their types."""

TOPICS: dict[str, str] = {
    "task": "robofume_interfaces/msg/Task",
    "step": "robofume_interfaces/msg/Step",
    "reward": "robofume_interfaces/msg/Reward",
    "label": "robofume_interfaces/msg/Label",
    "episode": "robofume_interfaces/msg/Episode",
    "help": "robofume_interfaces/msg/HelpRequest",
    "arm/status": "robofume_interfaces/msg/ArmStatus",
    "arm/backend_status": "robofume_interfaces/msg/BackendStatus",
    "learner/status": "robofume_interfaces/msg/LearnerStatus",
    "ground_truth": "robofume_interfaces/msg/GroundTruth",
}
"""Relative topic name -> message type. A bag holds the resolved names, with the namespace of the robot."""


VIEWS = "view_"
"""How the topics of views begin."""


def observation_topic(camera: str) -> str:
    """Topic of a further camera's pictures, as the policy sees them."""
    return f"observation/{camera}/image"


def view_topic(camera: str) -> str:
    """Topic of the steps as a further camera saw them: a Step that differs from the one on `step` in its image."""
    return VIEWS + camera
