"""Files and folders that are whole or not there."""

import pytest
from robofume_common.files import replace_folder, write_atomically

from robofume_common import files


def folder(path, text):
    path.mkdir()
    (path / "a").write_text(text)
    (path / "b").write_text(text)


def content(path):
    return {file.read_text() for file in path.iterdir()}


def test_a_file_is_replaced_and_nothing_is_left_beside_it(tmp_path):
    write_atomically(tmp_path / "new" / "file", b"one")
    write_atomically(tmp_path / "new" / "file", b"two")
    assert [(path.name, path.read_bytes()) for path in (tmp_path / "new").iterdir()] == [("file", b"two")]


@pytest.mark.parametrize("exchange", [True, False])
@pytest.mark.parametrize("only_once", [True, False])
def test_whatever_write_fails_one_whole_folder_is_there(tmp_path, failing_disk, monkeypatch, exchange, only_once):
    if not exchange:  # a file system that cannot exchange two names
        monkeypatch.setattr(files, "_exchange", lambda *_: False)
    for fails_at in range(1, 50):
        place = tmp_path / str(fails_at)
        folder(place, "old")
        folder(tmp_path / "next", "new")
        with failing_disk(fails_at, only_once) as disk:
            try:
                replace_folder(tmp_path / "next", place)
                told = False
            except OSError:
                told = True
        if place.exists():
            assert content(place) == {"new"} or (told and content(place) == {"old"})
        else:  # nothing could be renamed any more, in the one moment between two names
            assert not exchange and not only_once and content(tmp_path / f".{place.name}.old") == {"old"}
        if not disk.failed:
            assert not [path.name for path in tmp_path.iterdir() if not path.name.isdigit()]
            return
        for rest in tmp_path.glob("next"):
            for path in rest.iterdir():
                path.unlink()
            rest.rmdir()
        for rest in tmp_path.glob(".*"):
            for path in rest.iterdir():
                path.unlink()
            rest.rmdir()
    pytest.fail("the disk was never left alone")
