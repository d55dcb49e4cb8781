"""Where nodes run, and whether the processors sleep: with files in the place of the kernel's device."""

import os
import struct

import pytest
from robofume_bringup.processors import LATENCY, Awake, may_keep_awake, processor


def test_the_device_is_told_no_latency_and_held_until_the_end(tmp_path):
    device = tmp_path / "cpu_dma_latency"
    device.touch()
    awake = Awake(device)
    assert not awake.held
    awake.begin()
    assert awake.held and struct.unpack("i", device.read_bytes()) == (0,)
    held = [os.readlink(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd") if name.isdecimal()
            and os.path.exists(f"/proc/self/fd/{name}")]  # fmt: skip
    assert str(device) in held, "the kernel forgets the wish when the file is closed"
    awake.end()
    awake.end()
    assert not awake.held


def test_who_may_not_keep_them_awake_goes_on_without(tmp_path):
    awake = Awake(tmp_path / "no_such_device")
    awake.begin()
    assert not awake.held
    awake.end()


@pytest.mark.skipif(not may_keep_awake(), reason=f"this user may not write {LATENCY}")
def test_the_kernel_takes_the_wish():
    awake = Awake()
    awake.begin()
    assert awake.held
    awake.end()


def test_the_lanes_of_a_graph_are_apart_and_graphs_beside_each_other_too(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {8, 9, 10, 11})
    assert [processor(lane, graph) for graph in (0, 1) for lane in (0, 1)] == [8, 9, 10, 11]
    assert processor(0, 2) == 8, "round again"


def test_with_one_processor_there_is_nothing_to_choose(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {3})
    assert processor(1, 5) is None
