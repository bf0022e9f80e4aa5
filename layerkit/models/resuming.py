"""Going on with a training from its checkpoint and its data alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from layerkit.callbacks.backup import BackupAndRestore, Restoring
from layerkit.callbacks.callback import check_callbacks
from layerkit.checks import is_a
from layerkit.errors import ArgumentError, ModelFormatError
from layerkit.overriding import override

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from layerkit.models.model import Model
    from layerkit.saving.position import Position
    from layerkit.xp import Backend


def resume(
    path: str | os.PathLike[str],
    x: Any = None,
    y: Any = None,
    *,
    sample_weight: Any = None,
    validation_data: Any = None,
    callbacks: Any = None,
    epochs: int | None = None,
    verbose: int | str | None = None,
    custom_objects: Mapping[str, Any] | None = None,
    backend: str | Backend | None = None,
) -> Model:
    """Go on with a training that was cut off, to the bits that it would have ended with.

    ::

        model = layerkit.resume("run", x, y)

    The checkpoint brings the model, how it was compiled, and what else `fit` was given; its data must be given again. A
    folder of `BackupAndRestore` goes on to be kept. A training that had come to its end is not done again.

    Args:
        path: a folder of `BackupAndRestore`, of which the newest checkpoint is taken; or a file, of that or of
            `ModelCheckpoint`.
        x: the same as `fit` was given, as are y, sample_weight and validation_data.
        y: targets.
        sample_weight: weights of rows.
        validation_data: what was held out, unless it is a share of x.
        callbacks: those that a file cannot bring back, in their order: the user's own, and those that write files. They
            go on with what they remember: see `Callback.get_state`.
        epochs: the number of the last epoch, if it is to be another.
        verbose: see `fit`, if it is to be another.
        custom_objects: see `load_model`.
        backend: see `load_model`.

    Returns:
        The model at the end of its training; its `history` tells of all epochs.

    Raises:
        ArgumentError: there is no checkpoint, another process trains there, callbacks are missing, or the data is other
            data: what differs is listed.
        ModelFormatError: the checkpoint is damaged, as is the one before; or it is none, since its data could not be
            taken up again.
    """
    from pathlib import Path  # slow to load

    if is_a(path, str, Path) and not (Path(path).suffix or Path(path).exists()):
        raise ArgumentError(
            f"resume: there must be a folder of checkpoints at the path, or a checkpoint. "
            f"Received: {str(path)!r}, where there is nothing"
        )
    folder = BackupAndRestore(path) if Path(path).is_dir() else None
    restoring: Restoring = folder or _FromFile(path)
    try:
        if folder is None:
            model, position = _read(path, custom_objects, backend)
        else:
            folder.hold()  # before another process takes it, or removes what is read
            model, position = _newest(folder, custom_objects, backend)
            restoring = folder = _as_it_was(folder, position)
        chosen = [*_gathered(position, callbacks, custom_objects or {}), restoring]
        settings = {name: value for name, value in position.settings.items() if name != "backup"}
        settings |= {} if epochs is None else {"epochs": epochs}
        settings |= {} if verbose is None else {"verbose": verbose}
        given = {"sample_weight": sample_weight, "validation_data": validation_data}
        model.fit(x, y, callbacks=chosen, **given, **settings)
    finally:
        if folder is not None:
            folder.release()
    return model


class _FromFile(Restoring):
    """Goes on at a checkpoint that stands alone."""

    def __init__(self, path: Any) -> None:
        self.path = path

    @override
    def restore(self, model: Any, run: Any, epochs: int) -> Any:
        run.require_resumable("resume")
        return model.load_checkpoint(self.path, run)


def _read(path: Any, custom: Any, backend: Any) -> tuple[Model, Position]:
    from layerkit.models.files import reader  # with all that reads and writes files

    return reader.load_resumable(path, custom, backend)


def _newest(folder: BackupAndRestore, custom: Any, backend: Any) -> tuple[Model, Position]:
    """Return what the newest checkpoint holds that is whole. Of those that are not, `restore` will tell."""
    found = folder.checkpoints()
    if not found:
        raise ArgumentError(
            f"resume: there must be a checkpoint in the folder. Received: {str(folder.backup_dir)!r}, without one. "
            f"Train with BackupAndRestore first."
        )
    for place, path in enumerate(found):
        try:
            return _read(path, custom, backend)
        except ModelFormatError:
            if place == len(found) - 1:
                raise
    raise AssertionError


def _as_it_was(folder: BackupAndRestore, position: Position) -> BackupAndRestore:
    """Let the folder be kept as it was."""
    options: Any = position.settings.get("backup")
    if is_a(options, dict):
        made = BackupAndRestore(folder.backup_dir, **options)
        made.take_over(folder)
        return made
    return folder


def _gathered(position: Position, given: Any, custom: Mapping[str, Any]) -> list[Any]:
    """Return all callbacks: those that were given, and those that the file brings back."""
    listed = check_callbacks(given)
    kinds = [type(callback).__name__ for callback in listed]
    names = [callback.name for callback in position.callbacks]
    if kinds == names:
        return listed
    missing = [callback.name for callback in position.callbacks if callback.config is None]
    if kinds != missing:
        raise ArgumentError(
            f"resume: callbacks must be those of the training, in their order; of {', '.join(names)} these are not "
            f"made from the file: {', '.join(missing) or 'none'}. Received: {', '.join(kinds) or 'none'}"
        )
    waiting = iter(listed)
    return [
        next(waiting) if callback.config is None else position.make_callback(index, custom)
        for index, callback in enumerate(position.callbacks)
    ]
