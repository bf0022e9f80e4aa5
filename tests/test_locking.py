"""Locks on files, here and on Windows, whose calls are imitated."""

from __future__ import annotations

import errno
import os
import sys
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

from layerkit import Sequential
from layerkit.callbacks import BackupAndRestore
from layerkit.errors import ArgumentError
from layerkit.layers import Dense
from layerkit.locking import try_lock
from layerkit.saving.atomic import replacing, sweep

if TYPE_CHECKING:
    from pathlib import Path

X = [[0.0, 1.0], [1.0, 0.0]]
Y = [[0.0], [1.0]]


class Msvcrt(ModuleType):
    """`msvcrt` as its documentation has it: bytes from where the file stands, of one handle each."""

    LK_NBLCK = 2

    def __init__(self) -> None:
        super().__init__("msvcrt")
        self.held: dict[tuple[int, int, int], int] = {}

    def locking(self, descriptor: int, mode: int, count: int) -> None:
        assert (mode, count) == (self.LK_NBLCK, 1)
        found, place = os.fstat(descriptor), os.lseek(descriptor, 0, os.SEEK_CUR)
        key = found.st_dev, found.st_ino, place
        holder = self.held.setdefault(key, descriptor)
        if holder != descriptor:
            try:
                os.fstat(holder)
            except OSError:  # closed since
                self.held[key] = descriptor
            else:
                raise PermissionError(errno.EACCES, "Permission denied")


@pytest.fixture(params=["here", "on windows"])
def platform(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "on windows":
        monkeypatch.setitem(sys.modules, "msvcrt", Msvcrt())
        monkeypatch.setattr(sys, "platform", "win32")
    return request.param


@pytest.mark.usefixtures("platform")
def test_a_lock_is_held_until_its_file_is_closed(tmp_path: Path) -> None:
    with (tmp_path / "a").open("a+") as other:
        with (tmp_path / "a").open("a+") as file:
            assert try_lock(file)
            assert not try_lock(other)
            file.write("text")
            file.flush()
            other.seek(0)
            assert other.read() == "text"
        assert try_lock(other)
        other.seek(0)
        assert other.read() == "text"


@pytest.mark.usefixtures("platform")
def test_the_second_training_in_a_folder_is_told_the_process_of_the_first(tmp_path: Path) -> None:
    first = BackupAndRestore(tmp_path)
    first.hold()
    model = Sequential([Dense(1)], seed=0)
    model.compile("sgd", "mse")
    with pytest.raises(ArgumentError) as refusal:
        model.fit(X, Y, verbose=0, callbacks=[BackupAndRestore(tmp_path)])
    assert str(refusal.value) == (
        f"BackupAndRestore: a folder must serve one training at a time. Received: backup_dir={str(tmp_path)!r}, which "
        f"process {os.getpid()} uses"
    )
    first.release()
    model.fit(X, Y, verbose=0, callbacks=[BackupAndRestore(tmp_path)])
    assert not list(tmp_path.glob("checkpoint-*"))


@pytest.mark.usefixtures("platform")
def test_what_a_living_process_writes_is_not_swept(tmp_path: Path) -> None:
    (tmp_path / ".a.1-abc.partial").write_bytes(b"")
    with replacing(tmp_path / "a") as file:
        file.write(b"new")
        sweep(tmp_path / "a")
        assert len(list(tmp_path.glob(".*.partial"))) == 1
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"new"]
