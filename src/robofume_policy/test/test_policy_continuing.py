"""A learner that was killed in practice goes on to the very result of one that was not."""

import numpy as np
import pytest
import torch
from robofume_policy.config import NoveltyConfig
from robofume_policy.entry_journal import FILE, EntryJournal
from robofume_policy.online_learner import OnlineLearner
from test_policy_learning_pipeline import make_episode, new_learner, run

from robofume_policy import online_learner

ENTRIES = {100: 0, 101: 0, 103: 3, 102: 5, 104: 7, 105: 7}
"""Number of each episode of practice, in the order of entry, and the updates that had been made."""
NOVELTY = NoveltyConfig(
    novelty_weight=1.0, novelty_decay_updates=20, novelty_recompute_every=4, novelty_hidden_size=16
)  # fmt: skip


def practise(learner: OnlineLearner, until: int, save: tuple[int, ...] = ()) -> None:
    """Make updates one by one as episodes come, with checkpoints."""
    while learner.updates < until:
        for number, updates in ENTRIES.items():
            if updates == learner.updates:
                learner.add_episode(make_episode(number))
        learner.train(1)
        if learner.updates in save:
            learner.save(learner.checkpoints)


def begun(folder, novelty=None) -> OnlineLearner:
    learner = new_learner(folder, novelty=novelty)
    learner.checkpoints = folder / "checkpoints"
    learner.restored = learner.restore(learner.checkpoints)
    return learner


def same_state(one: OnlineLearner, other: OnlineLearner) -> bool:
    (tensors, state), (others, other_state) = (each.trained.state_dict() for each in (one, other))
    return tensors.keys() == others.keys() and str(state) == str(other_state) and all(
        torch.equal(value, others[name]) for name, value in tensors.items()
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    run(tmp_path / "pretrained")
    return tmp_path


@pytest.mark.parametrize("novelty", [None, NOVELTY], ids=["plain", "exploring"])
@pytest.mark.parametrize("killed_at", [2, 6, 9])
def test_a_killed_practice_ends_as_one_that_was_not(folder, novelty, killed_at: int) -> None:
    whole = new_learner(folder, novelty=novelty)
    practise(whole, 12)
    practise(begun(folder, novelty), killed_at, save=(4,))
    again = begun(folder, novelty)
    assert again.restored == (killed_at >= 4)
    recorded = [number for number, updates in ENTRIES.items() if updates < killed_at]
    again.read_back(make_episode(number) for number in sorted(recorded))  # as the bags have them
    assert again.episodes == len(recorded) and again.online.episodes < max(3, again.episodes)
    again.train(killed_at - again.updates)
    practise(again, 12)
    assert again.online.episodes == len(ENTRIES)
    assert same_state(whole, again) and whole.weights() == again.weights()


def test_it_may_be_killed_again_while_it_repeats(folder) -> None:
    whole = new_learner(folder)
    practise(whole, 12)
    practise(begun(folder), 9, save=(2,))
    recorded = [make_episode(number) for number in ENTRIES]
    for updates in (1, 3):
        again = begun(folder)
        again.read_back(recorded)
        again.train(updates)
    again.train(12 - again.updates)
    assert same_state(whole, again)


def test_new_episodes_come_after_those_that_wait(folder) -> None:
    practise(begun(folder), 6, save=(2,))
    again = begun(folder)
    again.read_back(make_episode(number) for number in (100, 101, 103, 102))
    assert again.online.episodes == 2
    assert again.add_episode(make_episode(106)) > 0 and again.add_episode(make_episode(106)) == 0
    assert "episode-106" not in again.online and again.episodes == 5
    again.train(4)
    assert again.online.episodes == 5 and list(EntryJournal(again.checkpoints).entries.items())[-2:] == [
        ("episode-102", 5), ("episode-106", 5)
    ]  # fmt: skip


def test_what_the_journal_does_not_know_comes_after_it_and_what_is_not_recorded_is_left_out(folder) -> None:
    practise(begun(folder), 6, save=(2,))
    again = begun(folder)
    again.read_back(make_episode(number) for number in (107, 102, 101))  # 100 and 103 are gone
    assert again.online.episodes == 1 and again.episodes == 3
    again.train(3)
    assert again.online.episodes == 1
    again.train(1)
    assert again.online.episodes == 3 and list(again._journal.entries)[-1] == "episode-107"


def test_one_that_is_in_no_bag_does_not_keep_all_after_it_in_memory(folder, monkeypatch) -> None:
    monkeypatch.setattr(online_learner, "MOST_HELD", 2)
    journal = EntryJournal(folder / "checkpoints")
    for number in range(100, 112):
        journal.note(f"episode-{number}", 0)
    again, entered = begun(folder), []

    def recorded():
        for number in (*range(101, 106), *range(107, 109), 106, *range(109, 112)):  # 100 is gone
            entered.append(again.online.episodes)
            yield make_episode(number)

    again.read_back(recorded())
    assert entered == [0, 0, 0, 3, 4, 5, 5, 5, 8, 9, 10], "three wait for one that is gone, and no more"
    held = [name for name, *_ in again.online.contents()[0]]
    assert held == [f"episode-{number}" for number in range(101, 112)]


def test_a_run_without_a_journal_takes_all_at_once(folder) -> None:
    practise(begun(folder), 6, save=(2,))
    (folder / "checkpoints" / FILE).unlink()
    again = begun(folder)
    again.read_back(make_episode(number) for number in ENTRIES)
    assert again.online.episodes == len(ENTRIES)


def full_disk(*_arguments, **_named):
    raise OSError(28, "No space left on device")


def test_a_journal_begins_in_a_folder_to_come_and_leaves_damaged_lines_out(tmp_path) -> None:
    folder = tmp_path / "run" / "checkpoints"
    journal = EntryJournal(folder)
    journal.note("one", 0)
    assert EntryJournal(folder).entries == {"one": 0}
    journal.note("two", 1)
    assert EntryJournal(folder).entries == {"one": 0, "two": 1}
    (folder / FILE).write_bytes(b"0 one\n\xff\xfe\nmany two\n3 \n4 three\n")
    damaged = EntryJournal(folder)
    assert damaged.entries == {"one": 0, "three": 4}
    damaged.note("four", 5)
    assert (folder / FILE).read_text() == "0 one\n4 three\n5 four\n"


def test_a_line_cut_off_is_left_out_and_one_that_was_not_written_comes_later(tmp_path, monkeypatch) -> None:
    file = tmp_path / FILE
    file.write_text("0 one\n3 two\n12 thr")
    journal = EntryJournal(tmp_path)
    assert journal.entries == {"one": 0, "two": 3}
    journal.note("four", 5)
    assert file.read_text() == "0 one\n3 two\n5 four\n"
    with monkeypatch.context() as full:
        full.setattr("pathlib.Path.open", full_disk)
        journal.note("five", 6)
    journal.note("six", 6)
    journal.note("six", 9)
    assert EntryJournal(tmp_path).entries == {"one": 0, "two": 3, "four": 5, "five": 6, "six": 6}
    assert np.all(np.diff(list(journal.entries.values())) >= 0)
