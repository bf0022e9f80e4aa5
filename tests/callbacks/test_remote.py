"""RemoteMonitor, against a server of our own."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import numpy as np
import pytest

from layerkit import Sequential
from layerkit.callbacks import RemoteMonitor
from layerkit.errors import ArgumentError
from layerkit.layers import Dense

if TYPE_CHECKING:
    from collections.abc import Iterator

X = np.arange(8.0).reshape(4, 2) / 8


@pytest.fixture
def server() -> Iterator[HTTPServer]:
    """Notes what it is sent, as (path, headers, body), and answers 404 to what is not under /publish/."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            server.received.append((self.path, self.headers, body))  # type: ignore[attr-defined]
            self.send_response(200 if self.path.startswith("/publish/") else 404)
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    server.received = []  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def train(callback: RemoteMonitor) -> list[float]:
    model = Sequential([Dense(1)], seed=0)
    model.compile("sgd", "mse")
    return model.fit(X, X[:, :1], epochs=2, verbose=0, callbacks=[callback]).history["loss"]


def test_each_epoch_is_sent_as_a_form_or_as_json(server: Any) -> None:
    root = f"http://127.0.0.1:{server.server_port}"
    losses = train(RemoteMonitor(root, headers={"X-Key": "secret"}))
    assert [path for path, _, _ in server.received] == ["/publish/epoch/end/"] * 2
    forms = [parse_qs(body) for _, _, body in server.received]
    assert [json.loads(form["data"][0]) for form in forms] == [{"epoch": n, "loss": losses[n]} for n in (0, 1)]
    headers = server.received[0][1]
    assert (headers["X-Key"], headers["Content-Type"]) == ("secret", "application/x-www-form-urlencoded")
    callback = RemoteMonitor(root, path="/publish/", send_as_json=True)
    callback.on_epoch_end(3, {"loss": np.float32(0.5), "scores": np.array([1.0, 2.0])})
    path, headers, body = server.received[-1]
    assert (path, headers["Content-Type"]) == ("/publish/", "application/json")
    assert json.loads(body) == {"epoch": 3, "loss": 0.5, "scores": [1.0, 2.0]}


def test_trouble_is_warned_of_and_training_goes_on(server: Any) -> None:
    root = f"http://127.0.0.1:{server.server_port}"
    with pytest.warns(UserWarning, match=f"^RemoteMonitor: the server must answer. Received: .*404.* from {root}/x"):
        assert len(train(RemoteMonitor(root, path="/x"))) == 2
    with pytest.warns(UserWarning, match="RemoteMonitor: the server must answer. Received: .*refused.* from "):
        RemoteMonitor("http://127.0.0.1:9").on_epoch_end(0, {"loss": 0.5})  # where nobody listens


def test_an_address_of_another_kind_is_refused() -> None:
    with pytest.raises(ArgumentError) as raised:
        RemoteMonitor("file:///etc/passwd")
    assert str(raised.value) == (
        "RemoteMonitor: root must begin with http:// or https://. Received: root='file:///etc/passwd'"
    )
