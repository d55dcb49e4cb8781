"""Settings of the import of a robot's recordings."""

from __future__ import annotations

from dataclasses import dataclass

from robofume_common.parameters import setting

from robofume_data.importing.cameras import by_camera


@dataclass(frozen=True)
class RawBagConfig:
    """Which topics of a recording are what, and how it is cut into episodes."""

    image_topic: str = setting("", "Topic of the pictures; empty: the only one there is")
    further_images: tuple[str, ...] = setting(
        (), "Topics of the pictures of further cameras, as CAMERA=TOPIC each: wrist=/wrist/image_raw"
    )
    state_topic: str = setting("", "Topic of the joint states; empty: the only one there is")
    command_topic: str = setting("", "Topic of the commands; empty: the only ArmCommand or JointTrajectory, if any")
    episode_topic: str = setting("", "Topic whose messages begin an episode; a Bool that is false ends one")
    instruction_topic: str = setting("", "Topic of std_msgs/String with the sentence that is followed from then on")
    label_file: str = setting("", "YAML list of {start, end, instruction, success}, in seconds from the first picture")
    rate: float = setting(5.0, "Control rate; 0: every picture is a step", unit="Hz", minimum=0.0, maximum=1000.0)
    gap: float = setting(2.0, "Time between two pictures that ends an episode", unit="s", minimum=0.1, maximum=3600.0)
    step_limit: int = setting(300, "Actions after which an episode is cut", minimum=1, maximum=10_000)
    max_state_age: float = setting(
        0.5, "Age at which joint states and further cameras' pictures no longer belong to a picture", unit="s",
        minimum=0.01, maximum=10.0,
    )  # fmt: skip
    image_size: int = setting(0, "Side of the pictures; 0: as they are", unit="pixels", minimum=0)

    def __post_init__(self) -> None:
        """Raise RobofumeError for further cameras that are not named as they must be."""
        _ = self.view_topics  # each of them is looked at

    @property
    def view_topics(self) -> dict[str, str]:
        """Topic of the pictures of each further camera, by the camera's name."""
        return by_camera(self.further_images, "CAMERA=TOPIC, such as wrist=/wrist/image_raw")
