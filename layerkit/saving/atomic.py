"""Replacing a file as a whole: at every moment its path holds the old file or the new one, never a part of either.

The new file is written beside the old one, under a name of its own, is brought to the disk, and then takes the old
one's name in one act of the file system; last, the folder is brought to the disk. While it is written it is locked:
what a dead process left behind is recognised by its missing lock, and removed by the next that writes there.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from layerkit.errors import ArgumentError, SaveError
from layerkit.locking import try_lock

if TYPE_CHECKING:
    from collections.abc import Generator

_PARTIAL = ".partial"


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Generator[BinaryIO]:
    """Give a file to write to, in a ``with`` block; when that ends well, the file stands at `path`.

    Raises:
        ArgumentError: there is something at `path` that is no file.
        SaveError: the file could not be written; its message tells what stands at `path` now.
    """
    target = Path(os.path.realpath(path))  # of a link, what it points to is replaced
    old = "the file that was there is whole, and as it was" if _checked(target) else "there is no file of that name"
    temporary: Path | None = None
    file: BinaryIO | None = None
    lock: int | None = None
    doing = "creating a file beside it"
    try:
        sweep(target)
        temporary, file = _create(target)
        doing = "writing"
        yield file
        file.flush()
        doing = "bringing it to the disk"
        os.fsync(file.fileno())
        doing = "closing"
        if sys.platform != "win32":  # which renames no open file
            lock = os.dup(file.fileno())  # the file stays locked until it has its name
        file.close()
        doing = "giving it its name"
        temporary.replace(target)
        temporary = None
        doing, old = "bringing its folder to the disk", "the new file is in place, and whole"
        _sync_folder(target.parent)
    except OSError as error:
        raise SaveError(
            error.errno or 0,
            f"{path}: the file must be written whole. Received: {error.strerror or error}, while {doing}. Now {old}.",
        ) from error
    finally:
        if file is not None:
            with contextlib.suppress(OSError):
                file.close()
        if lock is not None:
            with contextlib.suppress(OSError):
                os.close(lock)
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink()


def _checked(target: Path) -> bool:
    """Tell whether there is a file already."""
    try:
        mode = target.stat().st_mode
    except OSError:  # none, or a folder that cannot be entered: creating will say so
        return False
    if not stat.S_ISREG(mode):
        raise ArgumentError(f"save: the path must be that of a file. Received: {str(target)!r}, which is none")
    return True


def _create(target: Path) -> tuple[Path, BinaryIO]:
    while True:
        temporary = target.with_name(f".{target.name}.{os.getpid()}-{os.urandom(4).hex()}{_PARTIAL}")
        file = temporary.open("xb")
        try:
            if try_lock(file) and temporary.exists():
                return temporary, file  # else another process took it for a leftover, between these two lines
        except BaseException:
            file.close()
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
        file.close()


def sweep(target: Path) -> None:
    """Remove what dead processes left of `target`. What a living one writes is locked, and stays."""
    for leftover in target.parent.glob(f".{_escaped(target.name)}.*{_PARTIAL}"):
        with contextlib.suppress(OSError), leftover.open("rb") as file:
            if try_lock(file):
                if sys.platform == "win32":
                    file.close()
                leftover.unlink()


def _escaped(name: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


def _sync_folder(folder: Path) -> None:
    if sys.platform == "win32":  # folders cannot be opened there; renaming is journaled
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
