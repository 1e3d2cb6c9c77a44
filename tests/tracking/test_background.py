from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from neuronwise.tracking.background import BackgroundWriter, Point


class Server:
    """Takes points; can be told to fail or to hang."""

    def __init__(self) -> None:
        self.received: list[Point] = []
        self.batches = 0
        self.calls = 0
        self.error: Exception | None = None
        self.hang = threading.Event()
        self.hang.set()

    def __call__(self, points: list[Point]) -> None:
        self.calls += 1
        self.hang.wait(20)
        if self.error is not None:
            raise self.error
        self.batches += 1
        self.received += points


class Refused(Exception):
    error_code = "INVALID_PARAMETER_VALUE"


def point(step: int, key: str = "loss") -> Point:
    return (key, float(step), 0, step)


def until(condition: Callable[[], bool], seconds: float = 5) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.005)
    return condition()


def writer(server: Server, **options: float) -> BackgroundWriter:
    return BackgroundWriter(server, lambda sentence: None, **options)  # type: ignore[arg-type]


def test_points_arrive_in_order() -> None:
    server = Server()
    background = writer(server, interval_s=0)
    for step in range(500):
        background.add([point(step)])
    assert background.close(5) is None
    assert server.received == [point(step) for step in range(500)]
    assert background.sent == 500


def test_points_wait_for_company() -> None:
    server = Server()
    background = writer(server, interval_s=0.2)
    for step in range(100):
        background.add([point(step)])
        time.sleep(0.002)
    background.close(5)
    assert len(server.received) == 100
    assert server.batches <= 4


def test_adding_never_waits_for_a_server_that_hangs() -> None:
    server = Server()
    server.hang.clear()
    background = writer(server, interval_s=0)
    start = time.perf_counter()
    for step in range(1000):
        background.add([point(step)])
    assert time.perf_counter() - start < 0.5
    start = time.perf_counter()
    assert background.close(0.3) == "no answer within 0 s"
    assert time.perf_counter() - start < 1
    server.hang.set()


def test_memory_is_bounded_and_the_latest_point_stays() -> None:
    server = Server()
    server.hang.clear()
    background = writer(server, interval_s=0, max_points=100)
    background.add([point(-1)])
    until(lambda: server.calls == 1)
    for step in range(10_000):
        background.add([point(step), point(step, "accuracy")])
    assert background.pending <= 102
    server.hang.set()
    background.close(5)
    assert {("loss", 9999), ("accuracy", 9999)} <= {(key, step) for key, _, _, step in server.received}
    assert background.sent + background.thinned == 20_001
    steps = [step for key, _, _, step in server.received if key == "loss"]
    assert steps == sorted(steps)


def test_nothing_is_lost_when_the_server_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("neuronwise.tracking.background._PAUSES_S", (0.01,))
    server = Server()
    server.error = ConnectionError("refused")
    background = writer(server, interval_s=0)
    background.add([point(1)])
    assert until(lambda: server.calls >= 4)
    assert background.is_gone
    assert background.last_error == "refused"
    background.add([point(2)])
    server.error = None
    assert background.close(5) is None
    assert server.received == [point(1), point(2)]


def test_a_server_that_is_gone_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("neuronwise.tracking.background._PAUSES_S", (0.0, 0.0, 60.0))
    server = Server()
    server.error = ConnectionError("refused")
    background = writer(server, interval_s=0)
    background.add([point(1)])
    assert until(lambda: background.is_gone)
    calls = server.calls
    for step in range(50):
        background.add([point(step)])
    job = background.submit(lambda: pytest.fail("must not be called"), "something")
    assert job.refused
    assert job.error == "refused"
    time.sleep(0.05)
    assert server.calls == calls
    background.close(5)
    assert server.calls == calls + 1  # one last attempt
    assert background.pending == 51


def test_a_refusal_for_good_ends_it() -> None:
    server = Server()
    server.error = Refused("the run was deleted")
    background = writer(server, interval_s=0)
    background.add([point(1)])
    assert until(lambda: background.dropped == 1)
    background.add([point(2)])
    assert background.dropped == 2
    assert background.last_error == "the run was deleted"
    assert background.submit(lambda: None, "x").refused
    background.close(5)
    assert server.calls == 1


def test_jobs_run_in_order_and_keep_their_errors() -> None:
    background = writer(Server())
    seen: list[int] = []
    jobs = [background.submit(lambda i=i: seen.append(i), "job") for i in range(20)]  # type: ignore[misc]
    failing = background.submit(lambda: 1 / 0, "division")
    assert failing.wait(5)
    assert failing.error == "division by zero"
    assert all(job.wait(0) for job in jobs)
    assert seen == list(range(20))
    background.close(5)
    assert background.submit(lambda: None, "late").refused


def test_closing_reports_what_failed() -> None:
    background = writer(Server())

    def fail() -> None:
        raise OSError("gone")

    assert background.close(5, fail) == "gone"


def test_a_waiting_thread_uses_no_time() -> None:
    background = writer(Server())
    time.sleep(0.05)
    before = time.process_time()
    time.sleep(0.3)
    assert time.process_time() - before < 0.1
    background.close(5)


# ---------------------------------------------------------------- now and then


def test_what_is_regular_is_called_until_the_end_and_after_failures_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("neuronwise.tracking.background._PAUSES_S", (0.01,))
    server, calls = Server(), list[int]()
    background = writer(server, interval_s=0)

    def action() -> int:
        calls.append(len(server.received))
        if 3 <= len(calls) <= 6:
            raise ConnectionError("refused")
        return 1

    background.every(0.01, action)
    background.add([point(1)])
    assert until(lambda: len(calls) >= 10)
    assert background.sent == 1
    assert not background.has_failed
    assert background.close(5) is None
    count = len(calls)
    time.sleep(0.05)
    assert len(calls) == count


def test_what_is_regular_comes_after_jobs_and_points() -> None:
    server = Server()
    background = writer(server, interval_s=0)
    seen: list[int] = []
    background.every(0.0, lambda: seen.append(1) or 0)
    for step in range(50):
        background.add([point(step)])
        assert background.submit(lambda: None, "x").wait(5)
    assert background.close(5) is None
    assert server.received == [point(step) for step in range(50)]


def test_a_store_found_gone_refuses_jobs_at_once_until_it_is_tried_again() -> None:
    background = writer(Server())
    background.note_gone("it is away")
    job = background.submit(lambda: 1, "x")
    assert (job.refused, job.error) == (True, "it is away")
    background.try_again()
    job = background.submit(lambda: 1, "x")
    assert job.wait(5)
    assert job.result == 1
    assert not background.has_failed
    background.close(5)
