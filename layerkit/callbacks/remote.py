"""Epochs told to a server."""

from __future__ import annotations

import json
import warnings
from typing import TYPE_CHECKING, Any

from layerkit.callbacks.callback import Callback, Logs
from layerkit.checks import check_flag, is_a, shown
from layerkit.errors import ArgumentError
from layerkit.overriding import override

if TYPE_CHECKING:
    from collections.abc import Mapping

TIMEOUT_S = 10.0
"""How long a server may take, while training waits."""


class RemoteMonitor(Callback):
    """Send the logs of each epoch, and its number from 0 as "epoch", to a server, by HTTP POST.

    A server that does not answer, or refuses, is warned of; training goes on.

    Args:
        root: the address of the server.
        path: where on it.
        field: the field of a form that holds the logs as JSON.
        headers: further headers of the request, by name.
        send_as_json: whether the request is the JSON itself, and no form.

    Raises:
        ArgumentError: `root` is no address that begins with ``http://`` or ``https://``.
    """

    def __init__(
        self,
        root: str = "http://localhost:9000",
        path: str = "/publish/epoch/end/",
        field: str = "data",
        headers: Mapping[str, str] | None = None,
        send_as_json: bool = False,
    ) -> None:
        if not is_a(root, str) or not root.startswith(("http://", "https://")):
            raise ArgumentError(
                f"RemoteMonitor: root must begin with http:// or https://. Received: root={shown(root)}"
            )
        self.root = root
        self.path = path
        self.field = field
        self.headers = dict(headers or {})
        self.send_as_json = check_flag("RemoteMonitor", send_as_json=send_as_json)

    @override
    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        from urllib import error, parse, request  # slow to load

        text = json.dumps({"epoch": epoch, **{name: _plain(value) for name, value in (logs or {}).items()}})
        kind = "application/json" if self.send_as_json else "application/x-www-form-urlencoded"
        body = text if self.send_as_json else parse.urlencode({self.field: text})
        post = request.Request(  # noqa: S310 - `root` was checked
            self.root + self.path, body.encode(), {"Content-Type": kind, **self.headers}, method="POST"
        )
        try:
            request.urlopen(post, timeout=TIMEOUT_S).close()  # noqa: S310 - the same
        except (error.URLError, OSError) as trouble:
            warnings.warn(
                f"RemoteMonitor: the server must answer. Received: {trouble} from {self.root}{self.path}", stacklevel=2
            )


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else value
