"""Checkpoints: whole or not at all, and never a silent start from zero."""

import logging

import pytest
import torch
from robofume_common.errors import RobofumeError
from robofume_policy.checkpoint import STATE, TENSORS, CheckpointStore, read_checkpoint
from robofume_policy.metrics import MetricsWriter, read_metrics


def tensors(value: float) -> dict[str, torch.Tensor]:
    return {"a.b": torch.full((3,), value), "flag": torch.tensor(7, dtype=torch.int64)}


def test_round_trip_and_pruning(tmp_path) -> None:
    store = CheckpointStore(tmp_path / "checkpoints", keep=2)
    assert store.load() is None
    for number in (1, 2, 10):
        store.save(number, tensors(number), {"updates": number, "big": 2**100})
    assert store.numbers() == [2, 10]
    number, loaded, state = store.load()
    assert number == 10 and state == {"updates": 10, "big": 2**100}
    assert torch.equal(loaded["a.b"], torch.full((3,), 10.0)) and loaded["flag"].dtype == torch.int64
    store.save(10, tensors(11), {})
    assert float(store.load()[1]["a.b"][0]) == 11


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
    assert str(path) in caplog.text
    (tmp_path / "000000001" / STATE).unlink()
    with pytest.raises(RobofumeError, match="damaged"):
        store.load()


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
    assert list((tmp_path / "tensorboard" / "practice").glob("events*"))
