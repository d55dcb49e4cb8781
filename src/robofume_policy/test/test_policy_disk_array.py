"""A replay memory on the disk: the same batches, more than the process may hold, and a disk that is full."""

import errno
import os
import subprocess
import sys
from dataclasses import fields

import numpy as np
import pytest
from robofume_common.errors import RobofumeError
from robofume_policy.disk_array import DiskArray
from robofume_policy.replay import Batch, EpisodeTransitions, ReplayMemory


def make_episode(number: int, steps: int, pictures: tuple[int, ...] = (8, 8, 3)) -> EpisodeTransitions:
    random = np.random.default_rng(number)

    def floats(*shape: int) -> np.ndarray:
        return random.normal(size=(steps, *shape)).astype(np.float32)

    return EpisodeTransitions(
        episode_id=str(number), instruction_embedding=np.full(4, number % 2, np.float32),
        images=random.integers(0, 256, (steps, *pictures), np.uint8), proprioception=floats(2), actions=floats(2),
        rewards=floats(), discounts=floats(), returns=floats(), next_offset=np.append(np.ones(steps - 1, np.int32), 0),
        imitation=floats(),
    )  # fmt: skip


def on_the_disk(memory: ReplayMemory) -> bool:
    """Whether the pictures of a memory are an array on a file."""
    return isinstance(memory._storage["images"].base, np.memmap)


@pytest.mark.parametrize("pictures", [(8, 8, 3), (0, 0, 3)])
def test_its_batches_are_those_of_a_memory_in_memory(tmp_path, pictures: tuple[int, ...]) -> None:
    memories = ReplayMemory(50), ReplayMemory(50, tmp_path / "new" / "folder")
    first, second = np.random.default_rng(0), np.random.default_rng(0)
    for number in range(40):
        for memory in memories:
            memory.add(make_episode(number, 2 + number % 17, pictures))
        batches = memories[0].sample(32, first, 0.5), memories[1].sample(32, second, 0.5)
        for field in fields(Batch):
            ours, theirs = (getattr(batch, field.name) for batch in batches)
            assert ours.dtype == theirs.dtype and ours.shape == theirs.shape and (ours == theirs).all(), field.name
    assert on_the_disk(memories[1]) == (0 not in pictures) and not on_the_disk(memories[0])


def test_the_disk_is_filled_as_the_memory_fills_and_holds_no_file_by_name(tmp_path) -> None:
    array = DiskArray(tmp_path, (1000, 4096), np.dtype(np.uint8))
    sizes = []
    for end in (10, 100, 50, 1000):
        array.reserve(end)
        array.array[:end] = 1
        sizes.append(512 * os.fstat(array._file.fileno()).st_blocks // 4096)
    assert sizes[0] < 20 and 100 <= sizes[1] == sizes[2] < 120 and sizes[3] >= 1000
    assert list(tmp_path.iterdir()) == [], "a killed process leaves nothing behind"


PROCESS = """
import resource, sys
from pathlib import Path
import numpy as np
sys.path.insert(0, sys.argv[2])
from test_policy_disk_array import make_episode
from robofume_policy.replay import ReplayMemory

held = 1024 * int(Path("/proc/self/status").read_text().split("VmData:")[1].split()[0])
resource.setrlimit(resource.RLIMIT_DATA, (held + 2**25, held + 2**25))
memory = ReplayMemory(6000, sys.argv[1])
episode = make_episode(0, 100, (64, 64, 3))
for number in range(60):
    object.__setattr__(episode, "episode_id", str(number))
    memory.add(episode)
drawn = memory.sample(64, np.random.default_rng(0))
print("held", memory.episodes, drawn.images.shape)
"""


def test_it_holds_more_than_the_process_may_have(tmp_path) -> None:
    """70 MiB of pictures where 32 are allowed."""
    here = os.path.dirname(__file__)
    said = [
        subprocess.run([sys.executable, "-c", PROCESS, folder, here], capture_output=True, text=True, timeout=600)
        for folder in (str(tmp_path), "")
    ]
    assert said[0].stdout == "held 60 (64, 64, 64, 3)\n", said[0].stderr
    assert said[1].returncode != 0 and "MemoryError" in said[1].stderr
    assert list(tmp_path.iterdir()) == []


def test_where_the_disk_is_full_a_sentence_says_so_and_what_is_held_stays(tmp_path, monkeypatch) -> None:
    memory = ReplayMemory(50, tmp_path)
    memory.add(make_episode(0, 20))
    before = memory.sample(32, np.random.default_rng(0))

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr("os.posix_fallocate", full)
        with pytest.raises(RobofumeError, match=r"Cannot keep .* No space left on device; make room"):
            memory.add(make_episode(1, 20))
        patched.setattr("robofume_policy.disk_array.DISK_FLOOR", 2**62)
        with pytest.raises(RobofumeError, match=r"MiB are free at .*: make room"):
            memory.add(make_episode(1, 20))
    assert memory.episode_ids() == ["0"]
    assert (memory.sample(32, np.random.default_rng(0)).images == before.images).all()
    memory.add(make_episode(1, 20))
    assert memory.episode_ids() == ["0", "1"]


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RobofumeError, match=r"Cannot keep a replay memory in .*file: .* online_folder"):
        ReplayMemory(50, tmp_path / "file").add(make_episode(0, 20))
