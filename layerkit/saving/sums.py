"""SHA-256 of the members of a file, computed beside its reading: in a thread, where a member is long."""

from __future__ import annotations

import hashlib
import os
import threading
from typing import TYPE_CHECKING, BinaryIO

from layerkit.saving import archive

if TYPE_CHECKING:
    from layerkit.saving.archive import Member

SHORT = 2**21
"""A member of so many bytes at most is not worth a thread."""


class Sum:
    """The sum of a member, once it is asked for.

    Args:
        file: the file; where it has a descriptor, it may be read from meanwhile.
        member: which of its parts.
    """

    def __init__(self, file: BinaryIO, member: Member) -> None:
        self._digest = hashlib.sha256()
        self._thread: threading.Thread | None = None
        if member.size > SHORT and _has_descriptor(file):
            self._thread = threading.Thread(target=self._read, args=(file.fileno(), member), name="layerkit-sum")
            self._thread.start()
            return
        for chunk in archive.chunks(file, member):
            self._digest.update(chunk)

    def _read(self, descriptor: int, member: Member) -> None:
        position, stop = member.start, member.start + member.size
        while position < stop:
            # At a position of its own: the file's is another thread's.
            chunk = os.pread(descriptor, min(archive.CHUNK, stop - position), position)
            if not chunk:
                return  # it was cut off since: the sum will be another
            self._digest.update(chunk)
            position += len(chunk)

    def hexdigest(self) -> str:
        """Return it; this waits for it."""
        if self._thread is not None:
            self._thread.join()
        return self._digest.hexdigest()


def _has_descriptor(file: BinaryIO) -> bool:
    if not hasattr(os, "pread"):
        return False
    try:
        file.fileno()
    except OSError:  # in memory
        return False
    return True
