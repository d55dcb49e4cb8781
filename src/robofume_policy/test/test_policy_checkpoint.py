"""Checkpoints: whole or not at all, and never a silent start from zero."""

import logging

import pytest
import torch
from robofume_common.errors import RobofumeError
from robofume_policy.checkpoint import (
    STATE,
    TENSORS,
    VERSION_FILE,
    CheckpointStore,
    checkpoint_hash,
    read_checkpoint,
    read_version,
    write_version,
)
from robofume_policy.metrics import UPDATES_PER_SECOND, MetricsMean, MetricsWriter, read_metrics
from robofume_policy.pretraining import pretrain
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from test_policy_learning_pipeline import AGENT, NETWORK, SPACE, UPDATES, make_episode


def tensors(value: float) -> dict[str, torch.Tensor]:
    return {"a.b": torch.full((3,), value), "flag": torch.tensor(7, dtype=torch.int64)}


def test_round_trip_and_pruning(tmp_path) -> None:
    store = CheckpointStore(tmp_path / "checkpoints", keep=2)
    assert store.load() is None and store.newest() is None
    for number in (1, 2, 10):
        store.save(number, tensors(number), {"updates": number, "big": 2**100})
    assert store.numbers() == [2, 10]
    number, loaded, state = store.load()
    assert number == 10 and state == {"updates": 10, "big": 2**100}
    assert torch.equal(loaded["a.b"], torch.full((3,), 10.0)) and loaded["flag"].dtype == torch.int64
    store.save(10, tensors(11), {})
    assert float(store.load()[1]["a.b"][0]) == 11


@pytest.mark.parametrize("keep", [1, 3])
def test_what_was_written_stays_although_there_are_higher_numbers(tmp_path, keep: int) -> None:
    store = CheckpointStore(tmp_path, keep)
    for number in (10, 20, 30):
        store.save(number, tensors(number), {})
        (tmp_path / f"{number:09d}" / STATE).write_text("{")  # damaged: training goes on from before it
    store.save(5, tensors(5), {})
    assert len(store.numbers()) == keep and float(store.load()[1]["a.b"][0]) == 5


@pytest.mark.parametrize("damage", ["truncated", "flipped", "no state", "no tensors", "half json"])
def test_a_damaged_checkpoint_is_named_and_the_one_before_taken(tmp_path, caplog, damage: str) -> None:
    store = CheckpointStore(tmp_path)
    store.save(1, tensors(1), {"updates": 1})
    path = store.save(2, tensors(2), {"updates": 2})
    data = (path / TENSORS).read_bytes()
    if damage == "truncated":
        (path / TENSORS).write_bytes(data[:-4])
    elif damage == "flipped":
        (path / TENSORS).write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    elif damage == "no state":
        (path / STATE).unlink()
    elif damage == "no tensors":
        (path / TENSORS).unlink()
    else:
        (path / STATE).write_text((path / STATE).read_text()[:20])
    with caplog.at_level(logging.WARNING):
        number, loaded, _ = store.load()
    assert number == 1 and float(loaded["a.b"][0]) == 1
    assert store.newest() == ("000000001", checkpoint_hash(tmp_path / "000000001"))
    assert str(path) in caplog.text
    (tmp_path / "000000001" / STATE).unlink()
    with pytest.raises(RobofumeError, match="damaged"):
        store.load()


@pytest.mark.parametrize("name", [TENSORS, STATE])
def test_a_checkpoint_cut_at_any_byte_is_named_and_the_one_before_taken(tmp_path, caplog, name: str) -> None:
    store = CheckpointStore(tmp_path)
    store.save(1, tensors(1), {"updates": 1})
    file = store.save(2, tensors(2), {"updates": 2}) / name
    data = file.read_bytes()
    for length in range(len(data)):
        caplog.clear()
        file.write_bytes(data[:length])
        number, loaded, _ = store.load()
        assert number == 1 and float(loaded["a.b"][0]) == 1, length
        assert str(file.parent) in caplog.text
    file.write_bytes(data)
    assert store.load()[0] == 2


@pytest.mark.parametrize("number", [2, 1])
@pytest.mark.parametrize("only_once", [False, True])
def test_whatever_write_fails_a_whole_checkpoint_is_there(tmp_path, failing_disk, number, only_once) -> None:
    """`number` 1 replaces the checkpoint that is there."""
    for fails_at in range(1, 100):
        store = CheckpointStore(tmp_path / str(fails_at))
        store.save(1, tensors(1), {"updates": 1})
        with failing_disk(fails_at, only_once) as disk:
            try:
                store.save(number, tensors(2), {"updates": 2})
                told = False
            except RobofumeError as error:
                told = "cannot be written" in str(error)
        assert not list(store.directory.glob(".0*")) or only_once is False, "a full disk needs the room"
        found, loaded, state = store.load()
        assert found in (1, number) and float(loaded["a.b"][0]) == state["updates"]
        assert told or state["updates"] == 2  # to make a folder that is there may fail without harm
        store.save(3, tensors(3), {"updates": 3})  # and the next one finds room again
        assert store.load()[0] == 3
        if not disk.failed:
            assert fails_at > 10
            return
    pytest.fail("the disk was never left alone")


def test_what_a_killed_learner_left_behind_is_in_nobodys_way(tmp_path) -> None:
    store = CheckpointStore(tmp_path)
    (tmp_path / ".published_version.x7").write_text("1")
    store.save(1, tensors(1), {})
    assert [path.name for path in tmp_path.iterdir()] == ["000000001"]


def test_a_half_written_checkpoint_is_no_checkpoint(tmp_path) -> None:
    store = CheckpointStore(tmp_path)
    store.save(1, tensors(1), {})
    leftover = tmp_path / ".000000002.123"
    leftover.mkdir()
    (leftover / TENSORS).write_bytes(b"half")
    assert store.numbers() == [1] and store.load()[0] == 1
    store.save(3, tensors(3), {})
    assert not leftover.exists()


def test_errors_are_sentences(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RobofumeError, match="cannot be written"):
        CheckpointStore(tmp_path / "file").save(1, tensors(1), {})
    with pytest.raises(RobofumeError, match="damaged or incomplete"):
        read_checkpoint(tmp_path / "nowhere")


def test_metrics_keep_their_columns_and_drop_rows_after_the_resumed_update(tmp_path) -> None:
    writer = MetricsWriter(tmp_path, "practice", ["losses/a", "losses/b"], tensorboard=False)
    for updates in (10, 20, 30):
        writer.write(updates, {"losses/b": updates / 2})
    writer.close()
    writer = MetricsWriter(tmp_path, "practice", ["losses/a", "losses/b"], resume_from=20, tensorboard=True)
    writer.write(25, {"losses/a": 1.0, "losses/b": 2.0})
    writer.close()
    assert read_metrics(tmp_path / "practice.csv") == [
        {"updates": 10.0, "losses/b": 5.0},
        {"updates": 20.0, "losses/b": 10.0},
        {"updates": 25.0, "losses/a": 1.0, "losses/b": 2.0},
    ]


def curves(folder) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard shows of the files in a folder: (update, value) of each tag."""
    read = EventAccumulator(str(folder)).Reload()
    return {tag: [(event.step, event.value) for event in read.Scalars(tag)] for tag in read.Tags()["scalars"]}


def test_tensorboard_shows_what_the_csv_file_has(tmp_path) -> None:
    names = ["losses/a", "values/b"]
    for updates, begins in ((10, 0), (20, 10), (30, 20), (20, 10)):  # a run that goes on, and again from 10
        writer = MetricsWriter(tmp_path, "practice", names, resume_from=begins)
        writer.write(updates, {"losses/a": updates / 8, "values/b": -updates, UPDATES_PER_SECOND: 2.5})
        writer.close()
    rows = read_metrics(tmp_path / "practice.csv")
    assert [row["updates"] for row in rows] == [10, 20] and rows[0].keys() == {"updates", *names, UPDATES_PER_SECOND}
    shown = curves(tmp_path / "tensorboard" / "practice")
    assert shown == {tag: [(row["updates"], row[tag]) for row in rows] for tag in rows[0] if tag != "updates"}


def test_every_metric_of_a_training_is_in_both_files(tmp_path) -> None:
    trained = pretrain(
        [make_episode()], tmp_path, action_space=SPACE, network=NETWORK, agent=AGENT, config=UPDATES,
        metrics_directory=tmp_path / "metrics",
    )  # fmt: skip
    rows = read_metrics(tmp_path / "metrics" / "pretraining.csv")
    shown = curves(tmp_path / "metrics" / "tensorboard" / "pretraining")
    assert shown.keys() == {*trained.agent.metric_names, UPDATES_PER_SECOND} == rows[0].keys() - {"updates"}
    for tag, points in shown.items():
        assert [step for step, _ in points] == [row["updates"] for row in rows]
        assert [value for _, value in points] == pytest.approx([row[tag] for row in rows], rel=1e-5), tag


def test_a_row_is_the_mean_of_its_updates_and_their_rate(tmp_path) -> None:
    mean = MetricsMean(10)
    assert mean.add(4, {"losses/a": 1.0}, 1.0) is None
    row = mean.add(6, {"losses/a": 2.0}, 3.0)
    assert row == pytest.approx({"losses/a": 1.6, UPDATES_PER_SECOND: 2.5})
    assert mean.add(10, {"losses/a": 3.0}, 0.5)[UPDATES_PER_SECOND] == pytest.approx(20.0)
    writer = MetricsWriter(tmp_path, "practice", ["losses/a"], tensorboard=False)
    writer.write(10, row)
    writer.close()
    assert read_metrics(writer.path) == [{"updates": 10.0, **row}]


def test_metrics_cut_at_any_byte_keep_their_whole_rows(tmp_path) -> None:
    writer = MetricsWriter(tmp_path, "practice", ["losses/a"], tensorboard=False)
    for updates in (10, 20):
        writer.write(updates, {"losses/a": 1.5e-7 * updates})
    writer.close()
    path = tmp_path / "practice.csv"
    data = path.read_bytes()
    rows = read_metrics(path)
    for length in range(len(data)):
        path.write_bytes(data[:length])
        assert read_metrics(path) == rows[: max(0, data[:length].count(b"\n") - 1)]


@pytest.mark.parametrize("only_once", [False, True])
def test_rows_of_metrics_that_cannot_be_written_wait_for_the_next(tmp_path, failing_disk, only_once) -> None:
    """Each operation fails once, half of its bytes written, or it and all after it do."""
    for fails_at in range(1, 100):
        folder = tmp_path / str(fails_at)
        MetricsWriter(folder, "practice", ["losses/a"], tensorboard=False).close()
        with failing_disk(fails_at, only_once) as disk:
            try:
                writer = MetricsWriter(folder, "practice", ["losses/a"], tensorboard=True)
            except RobofumeError as error:
                assert "cannot be written" in str(error)
                continue  # where a run begins it ends with the sentence
            told = 0
            for updates in (1, 2, 3):
                try:
                    writer.write(updates, {"losses/a": 1.5})
                except RobofumeError:
                    told += 1
                else:
                    assert [row["updates"] for row in read_metrics(writer.path)] == list(range(1, updates + 1))
        writer.write(4, {"losses/a": 1.5})
        writer.close()
        assert [row["updates"] for row in read_metrics(writer.path)] == [1, 2, 3, 4], (fails_at, told)
        if not disk.failed:
            assert fails_at > 5
            return
    pytest.fail("the disk was never left alone")


def test_the_published_version_is_never_less_than_it_was(tmp_path, failing_disk) -> None:
    assert read_version(tmp_path) == 0
    write_version(tmp_path, 123)
    path = tmp_path / VERSION_FILE
    for length in range(4):
        path.write_bytes(b"123\n"[:length])
        with pytest.raises(RobofumeError, match="write the newest policy version into it"):
            read_version(tmp_path)
    for fails_at in range(1, 20):
        write_version(tmp_path, 123)
        with failing_disk(fails_at) as disk:
            try:
                write_version(tmp_path, 124)
                told = False
            except RobofumeError:
                told = True
        assert read_version(tmp_path) in ((123, 124) if told else (124,))
        if not disk.failed:
            return
    pytest.fail("the disk was never left alone")


def test_what_is_not_finite_does_not_take_the_place_of_a_good_checkpoint(tmp_path) -> None:
    store = CheckpointStore(tmp_path)
    store.save(1, tensors(1.0), {})
    with pytest.raises(RobofumeError, match="no longer finite"):
        store.save(2, tensors(float("nan")), {})
    assert store.numbers() == [1]
