"""The local page: only itself can read from it, and what it reads is what Python has."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neuronwise.errors import NotFoundError, UsageError
from neuronwise.inspecting import server as module
from neuronwise.inspecting.server import free_socket, make_app
from neuronwise.running import Run
from neuronwise.running.subject import Subject
from neuronwise.running.ui import LocalRuns

from .browser import chromium

TOKEN = "t" * 43


class Made:
    """Runs that note what was asked of them."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def listing(self, *, everywhere: bool) -> dict[str, Any]:
        self.asked.append("listing")
        return {"runs": [], "problem": None, "everywhere": everywhere}

    def payload(self, run: str) -> dict[str, Any]:
        self.asked.append(run)
        raise NotFoundError(f"there is no run {run!r}")

    def news(self, run: str, since: int) -> dict[str, Any]:
        self.asked.append((run, "since", since))
        return {"states": [], "training": {}, "live": False}

    def neuron(self, run: str, layer: int, neuron: int) -> dict[str, Any]:
        self.asked.append((run, layer, neuron))
        return {}

    def diagnosis(self, run: str) -> dict[str, Any]:
        self.asked.append((run, "diagnosis"))
        return {"findings": []}

    def state(self, run: str, step: int) -> bytes:
        self.asked.append((run, step))
        return b"1234"


@dataclass(frozen=True)
class Answer:
    """What the server said."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


@dataclass
class Client:
    """Speaks HTTP to the server, every header by hand."""

    port: int
    made: Made
    cookie: str | None = None

    def get(
        self, path: str, headers: dict[str, str] | None = None, method: str = "GET", body: bytes | None = None
    ) -> Answer:
        given = {"Host": f"127.0.0.1:{self.port}"} | (headers or {})
        if self.cookie is not None:
            given.setdefault("Cookie", self.cookie)
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for key, value in given.items():
            connection.putheader(key, value)
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        answer = connection.getresponse()
        found = Answer(answer.status, {key.lower(): value for key, value in answer.getheaders()}, answer.read())
        connection.close()
        return found


@pytest.fixture(scope="module")
def server() -> Client:
    """Start the real server; what it is asked for is noted."""
    made, listening = Made(), free_socket(0)
    port = listening.getsockname()[1]
    threading.Thread(target=module.serve, args=(make_app(made, TOKEN, port), listening), daemon=True).start()
    return Client(port, made)


@pytest.fixture
def client(server: Client) -> Client:
    server.made.asked.clear()
    return Client(server.port, server.made)


@pytest.fixture
def known(client: Client) -> Client:
    answer = client.get(f"/enter?token={TOKEN}")
    assert (answer.status, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "samesite=strict" in cookie.lower()
    return Client(client.port, client.made, cookie.split(";")[0])


def test_who_has_the_key_may_read(known: Client) -> None:
    index = known.get("/")
    assert index.status == 200
    assert "connect-src &#x27;self&#x27;" in index.text
    assert index.headers["x-content-type-options"] == "nosniff"
    assert index.headers["x-frame-options"] == "DENY"
    assert index.headers["referrer-policy"] == "no-referrer"
    assert "access-control-allow-origin" not in index.headers
    assert json.loads(known.get("/runs.json").body)["everywhere"] is True
    assert known.get("/run/abcdef12/step/3").body == b"1234"
    assert known.get("/run/abcdef12/neuron/1/20").body == b"{}"
    assert json.loads(known.get("/run/abcdef12/diagnosis").body) == {"findings": []}
    asked = ["listing", "listing", ("abcdef12", 3), ("abcdef12", 1, 20), ("abcdef12", "diagnosis")]
    assert known.made.asked == asked


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/", {"Host": "evil.example"}, 421),
        ("/", {"Host": "127.0.0.1:1"}, 421),
        ("/", {"Host": "localhost.evil.example"}, 421),
        ("/", {"Origin": "http://localhost:9999"}, 403),
        ("/", {"Origin": "null"}, 403),
        ("/", {"Sec-Fetch-Site": "cross-site"}, 403),
        ("/", {"Sec-Fetch-Site": "same-site"}, 403),
        ("/run/..%2f..%2fetc/step/1", {}, 400),
        ("/run/%252e%252e/step/1", {}, 400),
        ("/run/" + "a" * 500, {}, 400),
        ("/?token=" + TOKEN, {"Cookie": "other=1"}, 401),
        ("/run/latest", {}, 404),
        ("/run/abcdef12/step/-1", {}, 404),
        ("/run/abcdef12/step/nan", {}, 404),
        ("/run/abcdef12/since/x", {}, 404),
        ("/run/abcdef12/neuron/0/-1", {}, 404),
        ("/run/abcdef12/neuron/x/1", {}, 404),
        ("/run/latest/diagnosis", {}, 404),
        ("/run/../since/1", {}, 400),
        ("/static/decode.js", {}, 404),
    ],
)
def test_what_must_not_be_answered_is_not(known: Client, path: str, headers: dict[str, str], status: int) -> None:
    answer = known.get(path, headers=headers)
    assert answer.status == status
    assert len(answer.text) < 200
    assert known.made.asked == []


def test_an_unknown_run_is_told(known: Client) -> None:
    answer = known.get("/run/abcdef12")
    assert answer.status == 404
    assert answer.text.startswith("there is no run 'abcdef12'")


@pytest.mark.parametrize(
    "given", ["", "token=", "token=wrong", f"token={TOKEN[:-1]}", "token=%C3%A9", f"other={TOKEN}"]
)
def test_without_the_key_nothing_is_read(client: Client, given: str) -> None:
    assert client.get(f"/enter?{given}").status == 401
    paths = ("/", "/runs.json", "/run/abcdef12", "/run/abcdef12/step/1", "/run/abcdef12/neuron/0/0",
             "/run/abcdef12/diagnosis")  # fmt: skip
    for path in paths:
        assert client.get(path).status == 401
        assert client.get(path, {"Cookie": f"neuronwise-{client.port}=wrong"}).status == 401
    assert client.made.asked == []


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_nothing_can_be_written(known: Client, method: str) -> None:
    assert known.get("/", method=method).status == 405
    assert known.made.asked == []


def test_a_body_is_not_read(known: Client) -> None:
    answer = known.get("/", {"Content-Type": "text/plain"}, body=b"x" * 1_000)
    assert answer.status == 413
    assert known.made.asked == []


def test_the_next_free_port_is_taken() -> None:
    first = free_socket(0)
    port = first.getsockname()[1]
    second = free_socket(port)
    assert second.getsockname()[1] > port
    assert second.getsockname()[0] == "127.0.0.1"
    first.close()
    second.close()
    with pytest.raises(UsageError, match="a port is a number from 0 to 65535, got 70000"):
        free_socket(70_000)


def test_a_slow_client_and_one_that_talks_too_much_are_sent_away(
    monkeypatch: pytest.MonkeyPatch, client: Client
) -> None:
    monkeypatch.setattr(module, "_SLOW_S", 0.3)
    with socket.create_connection(("127.0.0.1", client.port), timeout=10) as slow:
        slow.sendall(b"GET / HTTP/1.1\r\nHost: 127")  # and no more
        assert slow.recv(1000).startswith(b"HTTP/1.1 408 Request Timeout")
    with socket.create_connection(("127.0.0.1", client.port), timeout=10) as long:
        long.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nX: %s" % (client.port, b"x" * 100_000))
        assert long.recv(1000).startswith(b"HTTP/1.1 4")
    assert client.made.asked == []


def test_a_client_that_asks_once_and_is_slow_after_that_is_sent_away_too(
    monkeypatch: pytest.MonkeyPatch, known: Client
) -> None:
    monkeypatch.setattr(module, "_SLOW_S", 0.4)
    request = f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{known.port}\r\nCookie: {known.cookie}\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", known.port), timeout=10) as slow:
        slow.sendall(request)
        said = b""
        while b"</html>" not in said:
            said += slow.recv(1_000_000)
        assert said.startswith(b"HTTP/1.1 200")
        slow.sendall(request[:20])
        time.sleep(0.2)
        slow.sendall(request[20:30])  # it is never quite silent
        assert slow.recv(1000).startswith(b"HTTP/1.1 408 Request Timeout")
        assert slow.recv(1000) == b""


@pytest.mark.parametrize(
    "length", ["Content-Length: 1000000000000", "Transfer-Encoding: chunked"], ids=["announced", "in chunks"]
)
def test_a_huge_body_is_refused_before_it_is_read(known: Client, length: str) -> None:
    head = f"GET /runs.json HTTP/1.1\r\nHost: 127.0.0.1:{known.port}\r\nCookie: {known.cookie}\r\n{length}\r\n\r\n"
    sent = 0
    with socket.create_connection(("127.0.0.1", known.port), timeout=10) as huge:
        huge.sendall(head.encode())
        with contextlib.suppress(ConnectionError, TimeoutError):
            huge.settimeout(2)
            for _ in range(2000):  # 200 MB
                sent += huge.send(b"186a0\r\n" + b"x" * 100_000 + b"\r\n" if "chunked" in length else b"x" * 100_000)
        huge.settimeout(10)
        with contextlib.suppress(ConnectionError):  # what was not read may take the answer along
            assert huge.recv(1000).startswith(b"HTTP/1.1 413")
    assert sent < 50_000_000
    assert known.made.asked == []
    assert known.get("/").status == 200  # it goes on


def test_what_is_refused_touches_no_file(started: str, home_of_runs: Path) -> None:
    def files() -> dict[str, tuple[int, int]]:
        found = (path for path in home_of_runs.rglob("*") if path.is_file())
        return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in found}

    before, port = files(), int(started.split(":")[2].split("/")[0])
    client = Client(port, Made())
    key = started.split("token=")[1]
    known = Client(port, Made(), client.get(f"/enter?token={key}").headers["set-cookie"].split(";")[0])
    name = next(path.name for path in (home_of_runs / "runs").iterdir())
    for path, headers, method, status in (
        (f"/run/{name}", {}, "DELETE", 405),
        (f"/run/{name}/step/0", {}, "PUT", 405),
        (f"/run/{name}", {"Host": "evil.example"}, "GET", 421),
        (f"/run/{name}", {"Origin": "http://evil.example"}, "GET", 403),
        (f"/run/{name}", {"Cookie": "a=b"}, "GET", 401),
        (f"/run/..%2f{name}", {}, "GET", 400),
        (f"/run/{name}/..%2f..%2frun.json", {}, "GET", 400),
        ("/run/" + "0" * 32, {}, "GET", 404),
        (f"/run/{name}/step/999999999", {}, "GET", 404),
        (f"/run/{name}/step/" + "9" * 60, {}, "GET", 404),
    ):
        answer = known.get(path, headers, method)
        assert (answer.status, path) == (status, path)
        assert len(answer.text) < 500
        assert "Traceback" not in answer.text
        assert str(home_of_runs) not in answer.text
    assert files() == before


def test_any_step_is_the_one_that_python_takes_again(
    runs: dict[str, Run], home_of_runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEURONWISE_HOME", str(home_of_runs))
    local, run = LocalRuns(), runs["digits"]
    payload = local.payload(run.id)
    last = runs["digits"].steps
    assert payload["weights"]["every"] == {"first": 0, "last": last}
    recording = Subject(run).recording
    step = next(step for step in range(last) if step not in recording.keyframes)
    found = np.frombuffer(local.state(run.id, step), "<f4")
    assert np.array_equal(found, recording.at(step).parameters)
    with pytest.raises(NotFoundError):
        local.state(run.id, last + 1)
    listed = local.listing(everywhere=False)["runs"]
    assert {one["name"] for one in listed} == {"digits", "houses"}


@pytest.fixture
def started(runs: dict[str, Run], home_of_runs: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Start the command in a process of its own and yield its address."""
    monkeypatch.setenv("NEURONWISE_HOME", str(home_of_runs))
    script = "from neuronwise.cli import main; main()"
    command = [sys.executable, "-u", "-c", script, "ui", "--port", "0"]
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    address = process.stdout.readline().strip()
    assert address.startswith("http://127.0.0.1:"), time.perf_counter() - began
    yield address
    process.terminate()
    assert process.wait(20) in (0, 130, -15)


def test_the_page_of_all_runs_opens_one_at_any_step(started: str, runs: dict[str, Run]) -> None:
    with chromium() as browser:
        context = browser.new_context(viewport={"width": 1400, "height": 900})
        at = context.new_page()
        said: list[str] = []
        at.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
        at.on("pageerror", lambda error: said.append(str(error)))
        asked: list[str] = []
        at.on("request", lambda request: asked.append(request.url))
        at.goto(started)
        at.wait_for_selector("text=2 runs")
        at.get_by_label("Search the runs").fill("hous")
        assert at.locator("tbody tr").count() == 1
        at.get_by_label("Search the runs").fill("")
        at.click("a:text-is('digits')")
        at.wait_for_selector("canvas.nw-network")
        recording = Subject(runs["digits"]).recording
        step = next(step for step in range(runs["digits"].steps) if step not in recording.keyframes)
        at.evaluate("step => document.getElementById('neuronwise').neuronwise.store.set({ step })", step)
        at.wait_for_function(
            "step => document.getElementById('neuronwise').neuronwise.model.has(step)", arg=step, timeout=20_000
        )
        x = at.evaluate("() => Array.from(document.getElementById('neuronwise').neuronwise.model.input(0))")
        shown = at.evaluate(
            "step => Array.from(document.getElementById('neuronwise').neuronwise.model.trace(step, 0).at(-1).a)", step
        )
        assert shown == pytest.approx(recording.at(step).predict(np.array(x, np.float32))[0], abs=1e-5)
        assert f"step={step}" in at.url
        at.reload()
        at.wait_for_selector("canvas.nw-network")
        assert at.evaluate("() => document.getElementById('neuronwise').neuronwise.store.now.step") == step
        origin = started.split("/enter")[0]
        assert all(url.startswith(origin) for url in asked), asked
        assert said == []
        context.close()


def test_a_training_that_runs_is_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, started_here: tuple[str, Path]
) -> None:
    address, home = started_here
    monkeypatch.setenv("NEURONWISE_HOME", str(home))
    script = (
        "import time, neuronwise\n"
        "from neuronwise.learning import Observer\n"
        "class Slow(Observer):\n"
        "    def on_epoch_end(self, *given):\n"
        "        time.sleep(0.5)\n"
        "neuronwise.train('digits', layers=[8], epochs=400, patience=400, track=False, name='live', observers=[Slow()],"
        " keyframe_every=20)"
    )
    training = subprocess.Popen([sys.executable, "-c", script])
    try:
        with chromium() as browser:
            at = browser.new_page()
            at.goto(address)
            for _ in range(60):
                at.reload()
                at.wait_for_timeout(500)
                if at.locator("a:text-is('live')").count():
                    break
            at.wait_for_timeout(2000)
            at.click("a:text-is('live')")
            at.wait_for_selector("canvas.nw-network")
            assert "this page follows it" in at.inner_text("header")
            first = at.evaluate("() => document.getElementById('neuronwise').neuronwise.store.now.step")
            at.wait_for_function(
                "first => document.getElementById('neuronwise').neuronwise.store.now.step > first",
                arg=first,
                timeout=30_000,
            )
            assert "the newest" in at.inner_text(".nw-step")
    finally:
        training.kill()
        training.wait()


@pytest.fixture
def started_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Path]]:
    home = tmp_path / "home"
    monkeypatch.setenv("NEURONWISE_HOME", str(home))
    script = "from neuronwise.cli import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-u", "-c", script, "ui", "--port", "0"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    yield process.stdout.readline().strip(), home
    process.terminate()
    process.wait(20)
