"""The switcher's memory on disk, and the sentence about who is silent."""

import json

import pytest
from robofume_common.enums import Direction, Outcome, Phase
from robofume_common.errors import RobofumeError
from robofume_reset.events import Episode, PublishEpisode
from robofume_reset.silence import Findings, silence_sentence
from robofume_reset.state import SwitcherState, load_state, save_state
from robofume_reset.switching import Alternation, EpisodeResult, SwitchingConfig

CONFIG = SwitchingConfig()


def test_round_trip(tmp_path):
    alternation = Alternation(CONFIG)
    alternation.on_episode(EpisodeResult(Direction.FORWARD, Outcome.SUCCESS, 12, 11))
    episode = Episode("p-000007", Phase.BACKWARD, Direction.BACKWARD, "put it back", True, 0.0)
    end = PublishEpisode("p-000006", Phase.FORWARD, Direction.FORWARD, "in", 12, Outcome.SUCCESS, 11, False, "pot")
    state = SwitcherState(alternation, 7, [episode], [end])
    path = tmp_path / "new" / "switcher.json"
    save_state(path, state)
    assert load_state(path, CONFIG) == state
    assert [entry.name for entry in path.parent.iterdir()] == ["switcher.json"]


def test_a_file_from_before_ends_were_kept_is_read(tmp_path):
    path = tmp_path / "state.json"
    save_state(path, SwitcherState(Alternation(CONFIG), 7))
    values = json.loads(path.read_text())
    assert values.pop("unheard") == []
    path.write_text(json.dumps(values))
    assert load_state(path, CONFIG) == SwitcherState(Alternation(CONFIG), 7)


def test_a_file_from_before_unknown_outcomes_is_read(tmp_path):
    path = tmp_path / "state.json"
    save_state(path, SwitcherState(Alternation(CONFIG, repeats=2), 7))
    values = json.loads(path.read_text())
    del values["alternation"]["unknowns_in_row"], values["alternation"]["total"]["unknown_episodes"]
    path.write_text(json.dumps(values))
    assert load_state(path, CONFIG) == SwitcherState(Alternation(CONFIG, repeats=2), 7)


def test_no_file_is_a_fresh_start(tmp_path):
    for path in ("", tmp_path / "none.json"):
        state = load_state(path, CONFIG)
        assert state.episodes_started == 0 and state.alternation.direction == Direction.FORWARD


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"version": 99}', '{"version": 1, "episodes_started": 3}'])
def test_a_damaged_file_is_one_sentence_and_never_a_silent_restart(tmp_path, text):
    path = tmp_path / "state.json"
    path.write_text(text)
    with pytest.raises(RobofumeError, match="damaged"):
        load_state(path, CONFIG)


def test_a_file_cut_at_any_byte_is_one_sentence(tmp_path):
    path = tmp_path / "state.json"
    episode = Episode("p-000007", Phase.BACKWARD, Direction.BACKWARD, "put it back", True, 0.0)
    save_state(path, SwitcherState(Alternation(CONFIG), 7, [episode]))
    data = path.read_bytes()
    for length in range(len(data)):
        path.write_bytes(data[:length])
        with pytest.raises(RobofumeError, match="damaged"):
            load_state(path, CONFIG)


def test_whatever_write_fails_the_old_state_or_the_new_one_is_there(tmp_path, failing_disk):
    path = tmp_path / "state.json"
    for fails_at in range(1, 50):
        save_state(path, SwitcherState(Alternation(CONFIG), 7))
        with failing_disk(fails_at) as disk:
            try:
                save_state(path, SwitcherState(Alternation(CONFIG), 8))
                told = False
            except RobofumeError as error:
                told = "cannot be written" in str(error)
        assert load_state(path, CONFIG).episodes_started in ((7, 8) if told else (8,))
        assert [entry.name for entry in tmp_path.iterdir()] == ["state.json"]
        if not disk.failed:
            return
    pytest.fail("the disk was never left alone")


def test_every_missing_entry_is_noticed(tmp_path):
    path = tmp_path / "state.json"
    save_state(path, SwitcherState(Alternation(CONFIG), 7))
    values = json.loads(path.read_text())
    for name in values.keys() - {"unheard"}:  # older files have none
        path.write_text(json.dumps({key: value for key, value in values.items() if key != name}))
        with pytest.raises(RobofumeError, match="damaged"):
            load_state(path, CONFIG)


def test_an_unwritable_place_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RobofumeError, match="cannot be written"):
        save_state(tmp_path / "file" / "state.json", SwitcherState(Alternation(CONFIG)))


PUBLISHERS = ("step", "camera/image_raw", "joint_states", "observation/image", "observation/proprioception")


@pytest.mark.parametrize(
    ("gone", "silent", "refuses", "expected"),
    [
        (("step",), (), "", "policy node is gone"),
        (("observation/image",), ("observation/image",), "", "camera node is gone"),
        ((), ("observation/image",), "", "camera is silent (observation/image)"),
        (("camera/image_raw",), ("observation/image",), "", "nobody publishes camera/image_raw"),
        (("observation/proprioception",), ("observation/proprioception",), "", "arm node is gone"),
        ((), ("observation/proprioception",), "", "arm is silent (observation/proprioception)"),
        (("joint_states",), ("observation/proprioception",), "", "nobody publishes joint_states"),
        ((), (), "no box is configured", "refuses to move: no box is configured"),
        ((), (), "", "policy node acts on none"),
    ],
)
def test_the_silent_one_is_named(gone, silent, refuses, expected):
    publishers = {topic: int(topic not in gone) for topic in PUBLISHERS}
    heard = {topic: 0 if topic in silent else 3 for topic in PUBLISHERS[3:]}
    sentence = silence_sentence(Findings(12.5, publishers, heard, refuses))
    assert expected in sentence and "12 s" in sentence
