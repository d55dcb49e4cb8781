"""Choosing the crop: pictures with a grid, numbers, and a task file that keeps its comments."""

import subprocess
import sys

import cv2
import numpy as np
import pytest
from robofume_common.errors import RobofumeError
from robofume_common.task import TaskDescription
from robofume_robot.crop_picture import (
    grid_picture,
    parse_crop,
    policy_picture,
    read_picture,
    usable_crop,
    write_crop,
    write_picture,
)


def test_the_grid_shows_the_picture_and_frames_the_crop():
    picture = np.full((240, 320, 3), 100, np.uint8)
    drawn = grid_picture(picture, (40, 0, 200, 200))
    assert drawn.shape == picture.shape and (picture == 100).all()
    assert tuple(drawn[100, 40]) == (60, 255, 90) and drawn[60, 160, 0] > 120 and tuple(drawn[61, 161]) == (100,) * 3


def test_the_policys_view_is_the_crop_and_nothing_else():
    picture = np.zeros((240, 320, 3), np.uint8)
    picture[:200, 40:240] = (10, 200, 30)
    view = policy_picture(picture, (40, 0, 200, 200), 64, enlarge=2)
    assert view.shape == (128, 128, 3) and (view == (10, 200, 30)).all()


def test_crops_are_four_numbers_inside_the_picture():
    assert parse_crop("80 0 480,480") == (80, 0, 480, 480) == parse_crop("[80, 0, 480, 480]")
    for text in ("80 0 480", "a b c d", "-1 0 10 10", "1.5 0 10 10"):
        with pytest.raises(RobofumeError, match="four whole numbers"):
            parse_crop(text)
    picture = np.zeros((480, 640, 3), np.uint8)
    assert usable_crop(picture, (), 64) == (80, 0, 480, 480)
    with pytest.raises(RobofumeError, match="does not fit"):
        usable_crop(picture, (200, 0, 480, 480), 64)


def test_the_task_file_keeps_everything_else(tmp_path):
    file = tmp_path / "task.yaml"
    text = "# mine\nname: a\nforward_instruction: do\nbackward_instruction: undo\n"
    file.write_text(text + "crop: []   # of my camera\n")
    write_crop(file, (80, 0, 480, 480))
    assert file.read_text() == text + "crop: [80, 0, 480, 480]   # of my camera\n"
    assert TaskDescription.load(file).crop == (80, 0, 480, 480)
    file.write_text(text)
    write_crop(file, (1, 2, 3, 4))
    assert file.read_text() == text + "crop: [1, 2, 3, 4]\n"
    link = tmp_path / "installed.yaml"
    link.symlink_to(file)
    write_crop(link, (5, 6, 7, 8))
    assert link.is_symlink() and "[5, 6, 7, 8]" in file.read_text()
    with pytest.raises(RobofumeError, match="Cannot read the task file"):
        write_crop(tmp_path / "none.yaml", (1, 2, 3, 4))


def test_pictures_come_from_files_and_what_is_none_is_one_sentence(tmp_path):
    picture = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    write_picture(tmp_path / "new" / "a.png", picture)
    np.testing.assert_array_equal(read_picture(str(tmp_path / "new" / "a.png")), picture)
    with pytest.raises(RobofumeError, match="Cannot open the camera source"):
        read_picture(str(tmp_path / "b.png"))


def test_a_snapshot_of_a_topic(graph, tmp_path):
    from robofume_common.conversion import array_to_image
    from sensor_msgs.msg import Image

    from robofume_common import qos

    file = tmp_path / "shot.png"
    publisher = graph.node.create_publisher(Image, "usb_cam/image_raw", qos.IMAGE)
    command = [sys.executable, "-m", "robofume_robot.nodes.snapshot", "--ros-args"]
    arguments = ["-r", "image:=/usb_cam/image_raw", "-p", f"output:={file}"]
    process = subprocess.Popen([*command, *arguments])
    picture = np.full((48, 64, 3), (10, 20, 200), np.uint8)

    def ended():
        publisher.publish(array_to_image(picture))
        graph.settle(0.2)
        return process.poll() is not None

    assert graph.until(ended) and process.returncode == 0
    np.testing.assert_array_equal(cv2.imread(str(file))[0, 0], (200, 20, 10))
    done = subprocess.run([*command, "-p", "deadline:=0.5"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1 and "No picture came on /image" in done.stderr
