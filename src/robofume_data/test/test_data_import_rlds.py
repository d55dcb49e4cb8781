"""RLDS data sets become episodes: the fields mean what the data show, and nothing is lost without a word."""

import dataclasses
import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from recorded_episodes import make_episode
from rlds_examples import example, jpeg, tfrecord
from robofume_common.enums import Outcome, RewardSource, Verdict
from robofume_common.errors import RobofumeError
from robofume_data.bag_reader import read_episodes
from robofume_data.bag_writer import DiskFullError
from robofume_data.importing.conventions import known_conventions, load_conventions
from robofume_data.importing.conversion import ImportOptions, change, physical_actions, with_labels
from robofume_data.importing.rlds import find_shards, read_shard, shard_name
from robofume_data.importing.run import Source, import_sources, summary
from robofume_data.importing.tfrecord import masked_crc
from robofume_data.importing.trajectory import ImportReport, Skipped
from scipy.spatial.transform import Rotation

ROOT = Path(__file__).resolve().parents[3]
SAMPLE = Path(os.environ.get("ROBOFUME_SHARED", ROOT.parent / "shared")) / "data" / "bridge_sample"
BRIDGE = load_conventions("bridge")


def imported(path: Path, folder: Path, conventions=BRIDGE, **options):
    sources = [Source(shard_name(shard), shard, read_shard) for shard in find_shards(path)]
    reports = list(import_sources(sources, folder, conventions, ImportOptions(**options), disk_floor=0))
    return reports, list(read_episodes(folder)) if any(report.episodes for report in reports) else []


@pytest.fixture
def shard(tmp_path):
    def write(*examples: bytes) -> Path:
        path = tmp_path / "pots-train.tfrecord-00002-of-00008"
        path.write_bytes(tfrecord(*examples))
        return path

    return write


def test_the_checksum_is_the_published_one():
    assert masked_crc(b"") == 0xA282EAD8
    # CRC-32C of this is 0xE3069283 (RFC 3720 and others).
    assert masked_crc(b"123456789") == (((0xE3069283 >> 15 | 0xE3069283 << 17) & 0xFFFFFFFF) + 0xA282EAD8) & 0xFFFFFFFF


def test_fields_arrive(shard, tmp_path):
    reports, (first, second) = imported(shard(example(seed=1), example(9, seed=2)), tmp_path / "bags", task="pot")
    assert (first.episode_id, second.episode_id) == ("pots-train-00002-00000", "pots-train-00002-00001")
    assert (first.length, second.length) == (4, 7)  # without the first step, and the last answers no action
    assert (first.task, first.instruction) == ("pot", "put the pot away")
    assert first.images.shape == (5, 12, 16, 3)
    assert abs(int(first.images[0, 5, 5, 0]) - 20) < 4
    assert (first.proprioception[:, 6] == 1).all()
    assert (first.actions[:, 6] == 0).all()
    assert np.diff(first.stamps).tolist() == [200_000_000] * 4
    assert (first.outcome, first.success_index) == (Outcome.SUCCESS, 2)
    assert (reports[0].episodes, reports[0].steps, reports[0].skipped) == (2, 11, [])


def test_labels_can_be_given_or_unknown(shard, tmp_path):
    path = shard(example(6), example(6, **{"steps/reward": np.zeros(6, np.float32)}))
    _, (good, bad) = imported(path, tmp_path / "given", dataclasses.replace(BRIDGE, labels="given"))
    assert (good.outcome, good.success_index) == (Outcome.SUCCESS, 4)
    assert (bad.outcome, bad.success_index) == (Outcome.TIMEOUT, -1)
    assert (bad.verdicts == Verdict.FAILURE).all()
    reports, (unknown, _) = imported(path, tmp_path / "none", dataclasses.replace(BRIDGE, labels="none"))
    assert "episodes of unknown outcome: 2" in summary(reports)
    assert (unknown.verdicts == Verdict.UNKNOWN).all()
    assert (unknown.outcome, unknown.success_index) == (Outcome.UNKNOWN, -1)


def test_a_reward_model_can_judge(shard, tmp_path):
    path = shard(example(6))
    judged = []

    def judge(images, instruction):
        judged.append((images.shape, instruction))
        probabilities = np.linspace(0.1, 0.9, len(images)).astype(np.float32)
        verdicts = np.where(probabilities > 0.6, Verdict.SUCCESS, Verdict.FAILURE).astype(np.uint8)
        verdicts[0] = Verdict.SUCCESS  # there from the start, so not achieved
        verdicts[1] = Verdict.UNKNOWN
        return probabilities, verdicts

    sources = [Source("a", path, read_shard)]
    list(import_sources(sources, tmp_path / "out", BRIDGE, ImportOptions(), disk_floor=0, judge=judge))
    (episode,) = read_episodes(tmp_path / "out")
    assert judged == [((5, 12, 16, 3), "put the pot away")]
    assert (episode.outcome, episode.success_index) == (Outcome.SUCCESS, 3)
    np.testing.assert_allclose(episode.probabilities, np.linspace(0.1, 0.9, 5), atol=1e-6)
    assert episode.verdicts.tolist() == [Verdict.SUCCESS, Verdict.UNKNOWN, Verdict.FAILURE, *[Verdict.SUCCESS] * 2]


@pytest.mark.parametrize(
    ("last", "probability", "outcome"),
    [
        (Verdict.FAILURE, 0.1, Outcome.TIMEOUT),
        (Verdict.UNKNOWN, 0.5, Outcome.UNKNOWN),
        (Verdict.FAILURE, np.nan, Outcome.UNKNOWN),
    ],
)
def test_what_a_reward_model_leaves_open_stays_open(last, probability, outcome):
    verdicts = np.full(7, Verdict.FAILURE, np.uint8)
    verdicts[-1] = last
    probabilities = np.full(7, 0.1)
    probabilities[-1] = probability
    judged = with_labels(make_episode(0), probabilities, verdicts)
    assert (judged.outcome, judged.success_index) == (outcome, -1)
    assert judged.verdicts[-1] == (Verdict.UNKNOWN if np.isnan(probability) else last)
    assert judged.sources[-1] == (RewardSource.NONE if np.isnan(probability) else RewardSource.VLM)


def test_other_conventions_give_the_same_episode(tmp_path):
    """The same motion written as absolute poses in mm with quaternions and a reversed gripper."""
    random = np.random.default_rng(3)
    pose = np.cumsum(random.uniform(-0.02, 0.02, (8, 7)), axis=0)
    pose[:, 6] = random.uniform(0, 1, 8)
    plain = tmp_path / "plain.tfrecord"
    action = np.zeros((8, 7))
    action[:-1] = change(pose[:-1], pose[1:])
    euler = action.copy()
    euler[:, 3:6] = Rotation.from_rotvec(action[:, 3:6]).as_euler("xyz")
    base = {"steps/observation/state": pose, "steps/action": euler}
    plain.write_bytes(tfrecord(example(8, **base)))
    down = (np.pi, 0.0, 0.3)
    turned = (Rotation.from_euler("xyz", pose[:, 3:6]) * Rotation.from_euler("xyz", down)).as_quat()
    other = np.concatenate([pose[:, :3] * 1000, turned, 10 - 5 * pose[:, 6:]], axis=1)
    target = np.concatenate([other[1:], other[-1:]])
    strange = tmp_path / "strange.tfrecord"
    strange.write_bytes(tfrecord(example(8, **{"steps/observation/state": other, "steps/action": target})))
    conventions = dataclasses.replace(
        BRIDGE, state_rotation="quaternion", action_rotation="quaternion", action_kind="absolute", down=down,
        translation_scale=1e-3, action_translation_scale=1e-3, state_gripper=(10.0, 5.0), action_gripper=(10.0, 5.0),
    )  # fmt: skip
    _, (expected,) = imported(plain, tmp_path / "a")
    _, (actual,) = imported(strange, tmp_path / "b", conventions)
    np.testing.assert_allclose(actual.proprioception, expected.proprioception, atol=1e-5)
    np.testing.assert_allclose(actual.actions, expected.actions, atol=1e-5)
    _, (followed,) = imported(plain, tmp_path / "c", dataclasses.replace(BRIDGE, action_kind="states"))
    np.testing.assert_allclose(followed.actions, expected.actions, atol=1e-5)


@pytest.mark.parametrize("kind", ["rpy", "rotation_vector"])
def test_angles_in_another_unit_than_rad_are_the_same_turns(kind):
    degrees = np.zeros((3, 7))
    degrees[:, 5], degrees[:, 6] = 10.0, 1.0
    conventions = dataclasses.replace(BRIDGE, action_rotation=kind, action_rotation_scale=np.pi / 180)
    actions = physical_actions(degrees, np.zeros((3, 7)), conventions, ImportReport("degrees"))
    np.testing.assert_allclose(np.degrees(actions[:, 3:6]), [[0.0, 0.0, 10.0]] * 2, atol=1e-9)
    with pytest.raises(RobofumeError, match="a quaternion has no unit"):
        dataclasses.replace(conventions, action_rotation="quaternion")


def test_black_pictures_in_the_place_of_a_camera_that_was_not_there_are_refused(shard, tmp_path):
    buffer = io.BytesIO()
    Image.new("RGB", (16, 12)).save(buffer, format="JPEG")
    black = [buffer.getvalue()] * 6
    path = shard(
        example(**{"steps/observation/image_3": black}),
        example(**{"steps/observation/image_3": [*black[1:], jpeg(90)]}),  # the lamp was off at first
    )
    both = dataclasses.replace(BRIDGE, further_images=("side=observation/image_3",))
    reports, episodes = imported(path, tmp_path / "a", both)
    assert [episode.episode_id for episode in episodes] == ["pots-train-00002-00001"]
    (skipped,) = reports[0].skipped
    assert "all its pictures of the camera side are black" in skipped.reason
    _, episodes = imported(path, tmp_path / "b")  # nobody asks for that camera
    assert len(episodes) == 2


def test_pictures_are_cut_to_their_middle_square(shard, tmp_path):
    _, (episode,) = imported(shard(example()), tmp_path / "out", image_size=8)
    assert episode.images.shape == (5, 8, 8, 3)


def test_what_cannot_be_used_is_listed_and_counted(shard, tmp_path):
    unfit = [
        ({"steps/observation/image_0": None}, "no pictures 'observation/image_0'"),
        ({"steps/observation/state": None}, "no numbers 'observation/state'"),
        ({"steps/action": np.zeros(5, np.float32)}, "5 numbers in 'action' for 6 pictures"),
        ({"steps/action": np.zeros((6, 8), np.float32)}, "its actions have 8 numbers, 7 were expected"),
        ({"steps/observation/state": np.full((6, 7), np.nan, np.float32)}, "its states are not finite"),
        ({"steps/action": np.full((6, 7), np.inf, np.float32)}, "its actions are not finite"),
        ({"steps/observation/image_0": [b"no picture"] * 6}, "cannot be decoded"),
        ({"steps/language_instruction": [b""]}, "no instruction"),
    ]
    path = shard(example(), *(example(**changes) for changes, _ in unfit), b"\x07nonsense", example(2))
    reports, episodes = imported(path, tmp_path / "out")
    assert len(episodes) == 1
    for (_, reason), skipped in zip(unfit, reports[0].skipped, strict=False):
        assert reason in skipped.reason
    assert "no tf.train.Example" in reports[0].skipped[-2].reason
    assert "at least 3 are needed" in reports[0].skipped[-1].reason
    assert len(reports[0].skipped) == len(unfit) + 2
    assert "not imported: 10" in summary(reports)
    record = json.loads((tmp_path / "out" / "pots-train-00002.import.json").read_text())
    assert len(record["skipped"]) == 10
    assert record["conventions"]["name"] == "bridge"


def test_a_second_import_changes_nothing(shard, tmp_path):
    path = shard(example())
    imported(path, tmp_path / "out")
    bag = tmp_path / "out" / "pots-train-00002.mcap"
    before = bag.read_bytes()
    reports, _ = imported(path, tmp_path / "out")
    assert "is there already" in reports[0].error
    assert bag.read_bytes() == before


def test_an_import_stops_before_the_disk_is_full(shard, tmp_path):
    source = Source("a", shard(example()), read_shard)
    with pytest.raises(DiskFullError, match="make room"):
        list(import_sources([source], tmp_path / "out", BRIDGE, ImportOptions(), disk_floor=10**15))
    assert not list((tmp_path / "out").iterdir())


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damage_is_told_and_never_becomes_an_episode(tmp_path_factory, data):
    examples = [example(4, seed=seed) for seed in range(3)]
    whole = tfrecord(*examples)
    damaged = bytearray(whole)
    kind = data.draw(st.sampled_from(["cut", "flip", "zero"]))
    place = data.draw(st.integers(0, len(whole) - 1))
    if kind == "cut":
        damaged = damaged[:place]
    elif kind == "flip":
        damaged[place] ^= 1 << data.draw(st.integers(0, 7))
    else:
        damaged[place : place + 50] = bytes(len(damaged[place : place + 50]))
    path = tmp_path_factory.mktemp("damaged") / "a.tfrecord"
    path.write_bytes(damaged)
    items = list(read_shard(path, BRIDGE))
    expected = {f"a-{number:05d}": item for number, item in enumerate(examples)}
    read = [item for item in items if not isinstance(item, Skipped)]
    for item in read:
        path.write_bytes(tfrecord(expected[item.name]))
        (original,) = read_shard(path, BRIDGE)
        assert item.images == original.images
        np.testing.assert_array_equal(item.states, original.states)
    at_an_end = kind == "cut" and place in np.cumsum([0, *(len(tfrecord(item)) for item in examples)])
    assert len(read) == 3 or at_an_end or len(items) > len(read)


def test_conventions_are_checked(tmp_path):
    for name in known_conventions():
        assert load_conventions(name).name == name
    with pytest.raises(RobofumeError, match="no conventions 'brigde'"):
        load_conventions("brigde")
    wrong = tmp_path / "wrong.yaml"
    for text, reason in (
        ("action_kind: sideways", "action_kind must be one of"),
        ("colour: red", "no setting colour"),
        ("state_indices: [1, 2]", "needs 7 numbers"),
        ("action_gripper: [1.0, 1.0]", "two different numbers"),
        ("a: [", "not valid YAML"),
        ("", "must be a mapping"),
    ):
        wrong.write_text(text)
        with pytest.raises(RobofumeError, match=reason):
            load_conventions(wrong)


@pytest.mark.skipif(not SAMPLE.is_dir(), reason="the BridgeData V2 sample is not here")
def test_real_bridge_trajectories_mean_what_the_conventions_say(tmp_path):
    """25 real trajectories of BridgeData V2 (CC BY 4.0), cut to 10 steps."""
    reports, episodes = imported(SAMPLE, tmp_path, dataclasses.replace(BRIDGE, dropped_first_steps=0))
    assert (len(episodes), reports[0].skipped) == (25, [])
    assert {episode.instruction for episode in episodes} == {
        "put cup from counter or drying rack into sink",
        "flip pot upright which is in sink",
        "turn lever vertical to front",
        "put carrot on plate",
    }
    states = np.stack([episode.proprioception for episode in episodes]).astype(np.float64)
    actions = np.stack([episode.actions for episode in episodes])
    assert states.shape == (25, 10, 7)
    # A real WidowX works in front of itself, 6 to 22 cm above its base.
    assert (states[..., 0] > 0.2).all()
    assert (states[..., 0] < 0.4).all()
    assert (states[..., 2] > 0.05).all()
    # Nobody moves in the first step: `dropped_first_steps` is right.
    assert np.abs(actions[:, 0, :6]).max() < 1e-4
    assert BRIDGE.dropped_first_steps == 1
    # The action at t is the commanded change from t to t + 1: in metres, and as a rotation in the base frame.
    done = np.stack([change(state[:-1], state[1:]) for state in states])
    for axis in range(6):
        commanded, reached = actions[..., axis].ravel(), done[..., axis].ravel()
        assert np.corrcoef(commanded, reached)[0, 1] > 0.7
        assert 0.6 < np.polyfit(commanded, reached, 1)[0] < 1.1
    tilted = np.abs(states[:, :-1, 3:6]).max(-1) > 0.4
    own = Rotation.from_euler("xyz", states[:, :-1][tilted][:, 3:6]).inv().apply(done[tilted][:, 3:6])
    commanded = actions[tilted][:, 3:6]
    in_base = done[tilted][:, 3:6]
    assert np.sqrt(((own - commanded) ** 2).mean()) > 1.5 * np.sqrt(((in_base - commanded) ** 2).mean())
    # The gripper's target is 1 open, 0 closed; the opening follows it.
    closing = actions[..., 6] < 0.9
    held_open = ~closing.any(1)
    assert states[held_open, :, 6].min() > 0.95
    closed_early = closing[:, :-2].any(1)
    assert states[closed_early, -1, 6].max() < 0.95
    assert held_open.sum() >= 5
    assert closed_early.sum() >= 5
