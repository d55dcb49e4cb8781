"""One episode to look at: film strip and plots as PNG, and a Rerun recording: `robofume data view`."""

from __future__ import annotations

import importlib.util
import io
from pathlib import Path

import matplotlib
import numpy as np
from robofume_common.enums import Actor, Outcome, Verdict
from robofume_common.errors import RobofumeError

from robofume_data.bag_reader import Paths, read_episodes
from robofume_data.episode import EpisodeData
from robofume_data.film_strip import film_strip_png

_AXES = ("x [m]", "y [m]", "z [m]", "roll [rad]", "pitch [rad]", "yaw [rad]", "gripper, 1 open")


def find_episode(paths: Paths, episode_id: str) -> EpisodeData:
    """The episode of this id, or the only one whose id ends with it; RobofumeError where there is none."""
    near: list[EpisodeData] = []
    names: list[str] = []
    for episode in read_episodes(paths):
        if episode.episode_id == episode_id:
            return episode
        if episode.episode_id.endswith(episode_id):
            near.append(episode)
        names.append(episode.episode_id)
    if len(near) == 1:
        return near[0]
    what = "There are several episodes whose ids end with" if near else "There is no episode"
    some = ", ".join(names[:5]) + (" and so on" if len(names) > 5 else "")
    raise RobofumeError(f"{what} {episode_id!r}; there are {some or 'no whole episodes'}.")


def plots_png(episode: EpisodeData) -> bytes:
    """Proprioception, actions and verdicts over the steps, as PNG bytes."""
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(8, 1, figsize=(9, 13), sharex=True, constrained_layout=True)
    steps = np.arange(episode.length + 1)
    for index, (axis, name) in enumerate(zip(axes, _AXES, strict=False)):
        axis.plot(steps, episode.proprioception[:, index], color="#1f6fb4", label="is")
        acted = episode.actions[:, index]
        asked = acted if index == 6 else episode.proprioception[:-1, index] + acted
        axis.plot(steps[:-1] + 0.5, asked, ".", color="#d1603d", markersize=3, label="commanded")
        axis.set_ylabel(name)
    axes[0].legend(loc="upper right", fontsize=7)
    axes[0].set_title(f"{episode.episode_id}: “{episode.instruction}”, {_ending(episode)}", fontsize=9)
    axes[7].plot(steps, episode.probabilities, ".-", color="#333333")
    colours = ((Verdict.SUCCESS, "#28a046"), (Verdict.FAILURE, "#c83c32"), (Verdict.UNKNOWN, "#969696"))
    for verdict, colour in colours:
        at = steps[episode.verdicts == verdict]
        axes[7].plot(at, np.full(len(at), 1.1), "s", color=colour, markersize=4)
    axes[7].set_ylim(-0.1, 1.2)
    axes[7].set_ylabel("P(success)")
    axes[7].set_xlabel("step")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=90)
    pyplot.close(figure)
    return buffer.getvalue()


def write_view(episode: EpisodeData, folder: Path) -> list[Path]:
    """Writes `<id>_film.png`, `<id>_plots.png` and, where rerun-sdk is installed, `<id>.rrd`; returns the paths."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        stem = "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in episode.episode_id)
        written = [folder / f"{stem}_film.png", folder / f"{stem}_plots.png"]
        written[0].write_bytes(film_strip_png(episode))
        written[1].write_bytes(plots_png(episode))
    except OSError as error:
        raise RobofumeError(f"Cannot write to {folder}: {error.strerror}.") from error
    if importlib.util.find_spec("rerun") is not None:
        written.append(_rerun(episode, folder / f"{stem}.rrd"))
    return written


def describe(episode: EpisodeData) -> str:
    """The episode in a few lines for a terminal."""
    actors = ", ".join(
        f"{Actor(int(actor)).name.lower()} {int((episode.actors == actor).sum())}"
        for actor in np.unique(episode.actors)
    )
    seconds = float(episode.stamps[-1] - episode.stamps[0]) * 1e-9
    counts = ((verdict, int((episode.verdicts == verdict).sum())) for verdict in Verdict)
    verdicts = ", ".join(f"{count} {verdict.name.lower()}" for verdict, count in counts if count)
    return (
        f"{episode.episode_id}: “{episode.instruction}” ({episode.task}, {episode.direction.name.lower()})\n"
        f"  {episode.length} actions in {seconds:.1f} s, by {actors or 'nobody'}; {_ending(episode)}\n"
        f"  verdicts: {verdicts}"
    )


def _ending(episode: EpisodeData) -> str:
    if episode.is_success:
        return f"success at step {episode.success_index}"
    return "outcome unknown" if episode.outcome == Outcome.UNKNOWN else episode.outcome.name.lower()


def _rerun(episode: EpisodeData, path: Path) -> Path:
    rerun = importlib.import_module("rerun")
    recording = rerun.RecordingStream("robofume", recording_id=episode.episode_id)
    recording.save(str(path))
    recording.log("instruction", rerun.TextDocument(episode.instruction), static=True)
    for index in range(episode.length + 1):
        recording.set_time("step", sequence=index)
        recording.set_time("camera", duration=float(episode.stamps[index] - episode.stamps[0]) * 1e-9)
        recording.log("camera", rerun.Image(episode.images[index]).compress(jpeg_quality=90))
        recording.log("gripper", rerun.Points3D([episode.proprioception[index, :3]], radii=0.01))
        for name, value in zip(_AXES, episode.proprioception[index], strict=True):
            recording.log(f"proprioception/{name.split()[0].strip(',')}", rerun.Scalars(float(value)))
        recording.log("success", rerun.Scalars(float(episode.probabilities[index])))
    recording.flush()
    return path
