"""At every moment the path holds the old file or the new one, whole: with real processes, killed, and real faults."""

from __future__ import annotations

import errno
import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from layerkit.errors import SaveError
from layerkit.saving import atomic
from layerkit.saving.atomic import replacing
from tests.conftest import skip_unless_required

OLD, NEW = b"old" * 1000, b"new" * 1000

# Replaces a file by 3 MB of the letter b, again and again, and says so before it begins.
LOOP = """
import sys
from layerkit.saving.atomic import replacing
print("ready", flush=True)
while True:
    with replacing(sys.argv[1]) as file:
        for _ in range(3):
            file.write(b"b" * 10**6)
"""
ONCE = LOOP.replace("while True", "for _ in range(1)")
ONCE_IN_A_PROCESS = (sys.executable, "-c", ONCE)


def leftovers(folder: Path) -> list[Path]:
    return sorted(folder.glob(".*.partial"))


def test_a_file_is_replaced_and_nothing_is_left(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(OLD)
    path.chmod(0o640)
    with replacing(path) as file:
        file.write(NEW)
        assert path.read_bytes() == OLD
    assert path.read_bytes() == NEW
    assert list(tmp_path.iterdir()) == [path]


def test_an_exception_while_writing_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(OLD)

    def write() -> None:
        with replacing(path) as file:
            file.write(NEW)
            raise KeyError

    with pytest.raises(KeyError):
        write()
    assert path.read_bytes() == OLD
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_link_points_to_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(OLD)
    (tmp_path / "link").symlink_to("target")
    with replacing(tmp_path / "link") as file:
        file.write(NEW)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_bytes() == NEW


def test_what_dead_processes_left_is_swept_and_what_living_ones_write_is_not(tmp_path: Path) -> None:
    path = tmp_path / "[a]*"
    dead = tmp_path / ".[a]*.1-abc.partial"
    dead.write_bytes(b"")
    other = tmp_path / ".b.1-abc.partial"
    other.write_bytes(b"")
    with replacing(path) as living:
        assert leftovers(tmp_path) == sorted([other, Path(living.name)])
        with replacing(path) as file:
            file.write(NEW)
        assert leftovers(tmp_path) == sorted([other, Path(living.name)])
        living.write(OLD)
    assert path.read_bytes() == OLD
    assert leftovers(tmp_path) == [other]


FAULTS: dict[str, tuple[str, str]] = {
    "open": ("creating a file beside it", "the file that was there is whole, and as it was"),
    "write": ("writing", "the file that was there is whole, and as it was"),
    "fsync": ("bringing it to the disk", "the file that was there is whole, and as it was"),
    "replace": ("giving it its name", "the file that was there is whole, and as it was"),
    "folder": ("bringing its folder to the disk", "the new file is in place, and whole"),
}


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO], ids=errno.errorcode.get)
@pytest.mark.parametrize("call", FAULTS)
def test_an_error_of_each_call_is_told_once(
    call: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    path.write_bytes(OLD)

    def fail(*args: Any, **kwargs: Any) -> Any:
        raise OSError(code, os.strerror(code))

    places: dict[str, tuple[Any, str]] = {
        "open": (Path, "open"),
        "fsync": (os, "fsync"),
        "replace": (Path, "replace"),
        "folder": (atomic, "_sync_folder"),
    }

    def write() -> None:
        with monkeypatch.context() as patch:
            if call in places:
                patch.setattr(*places[call], fail)
            with replacing(path) as file:
                if call == "write":
                    fail()
                file.write(NEW)

    with pytest.raises(SaveError) as refusal:
        write()
    doing, now = FAULTS[call]
    assert str(refusal.value) == (
        f"[Errno {code}] {path}: the file must be written whole. Received: {os.strerror(code)}, while {doing}. "
        f"Now {now}."
    )
    assert refusal.value.errno == code
    assert path.read_bytes() == (NEW if call == "folder" else OLD)
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk(tmp_path: Path) -> None:
    """A file system of 1 MB, in a name space of its own, where that is allowed."""
    script = (
        f"mount -t tmpfs -o size=1m none {tmp_path} && printf old > {tmp_path}/a && "
        f"! {sys.executable} -c '{ONCE}' {tmp_path}/a 2> {tmp_path}/message && tail -n 1 {tmp_path}/message && "
        f"cat {tmp_path}/a && ls -A {tmp_path}"
    )
    unshare = shutil.which("unshare")
    done = subprocess.run([unshare or "false", "-rm", "sh", "-c", script], capture_output=True, text=True, check=False)
    if done.returncode and "ready" not in done.stdout:
        skip_unless_required("unshare", f"A file system of one's own cannot be mounted here. {done.stderr}")
    assert done.stdout.splitlines() == [
        "ready",
        f"layerkit.errors.SaveError: [Errno 28] {tmp_path}/a: the file must be written whole. Received: No space left "
        f"on device, while writing. Now the file that was there is whole, and as it was.",
        "olda",
        "message",
    ]


def test_a_folder_that_cannot_be_written_to(tmp_path: Path) -> None:
    with pytest.raises(SaveError) as refusal, replacing(tmp_path / "none" / "a"):
        pass
    assert str(refusal.value).endswith(
        "Received: No such file or directory, while creating a file beside it. Now there is no file of that name."
    )


def run_killed(path: Path, delay_s: float) -> None:
    process = subprocess.Popen([sys.executable, "-c", LOOP, str(path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    try:
        process.wait(delay_s)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
    process.stdout.close()
    assert process.wait() == -signal.SIGKILL


@pytest.mark.parametrize("seed", range(4))
def test_killed_at_random(seed: int, tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(OLD)
    run_killed(path, random.Random(seed).uniform(0, 0.05))
    assert path.read_bytes() in (OLD, b"b" * 3 * 10**6)
    assert len(leftovers(tmp_path)) <= 1
    with replacing(path) as file:
        file.write(NEW)
    assert list(tmp_path.iterdir()) == [path]


def strace_or_skip() -> None:
    strace = shutil.which("strace")
    if strace is None:
        skip_unless_required("strace", "strace is not installed.")
    elif subprocess.run([strace, "-o", os.devnull, "true"], capture_output=True, check=False).returncode:
        skip_unless_required("strace", "strace may not trace processes here.")


@pytest.mark.parametrize("call", ["rename", "fsync"])
def test_killed_within_a_call(call: str, tmp_path: Path) -> None:
    """The long form, every call: python -m tests.saving.crash."""
    strace_or_skip()
    path = tmp_path / "a"
    path.write_bytes(OLD)
    done = subprocess.run(
        ["strace", "-f", "-o", os.devnull, "-e", f"inject={call}:signal=KILL:when=1", *ONCE_IN_A_PROCESS, str(path)],
        capture_output=True,
        check=False,
    )
    assert done.returncode in (-signal.SIGKILL, 128 + signal.SIGKILL)
    assert path.read_bytes() in (OLD, b"b" * 3 * 10**6)
