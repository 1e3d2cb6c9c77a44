from __future__ import annotations

import gzip
import hashlib
import importlib
import re
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from neuronwise.data.idx import read_idx, write_idx
from neuronwise.data.mnist import MIRRORS, mnist
from neuronwise.errors import DataError

# The package gives the function this name; the module is found by its full one.
module = importlib.import_module("neuronwise.data.mnist")

Answer = Callable[[BaseHTTPRequestHandler, bytes], None]


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small data set under MNIST's names, with its own checksums in place of the real ones."""
    folder = tmp_path / "published"
    folder.mkdir()
    random = np.random.default_rng(0)
    arrays = {
        "train-images-idx3-ubyte": random.integers(0, 256, (6, 4, 4), dtype=np.uint8),
        "train-labels-idx1-ubyte": np.array([0, 1, 2, 9, 1, 0], np.uint8),
        "t10k-images-idx3-ubyte": random.integers(0, 256, (2, 4, 4), dtype=np.uint8),
        "t10k-labels-idx1-ubyte": np.array([3, 4], np.uint8),
    }
    files = []
    for name, array in arrays.items():
        write_idx(folder / f"{name}.gz", array)
        plain = gzip.decompress((folder / f"{name}.gz").read_bytes())
        files.append(module._File(name, hashlib.sha256(plain).hexdigest(), len(plain)))
    monkeypatch.setattr(module, "FILES", tuple(files))
    return folder


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "home" / "cache" / "mnist"


class _Server:
    """An HTTP server on loopback that hands out a folder, each file through an `answer` that may spoil it."""

    def __init__(self, folder: Path) -> None:
        self.answer: Answer = send
        self.asked: list[str] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name = self.path.rsplit("/", 1)[-1]
                server.asked.append(name)
                server.answer(self, (folder / name).read_bytes())

            def log_message(self, *args: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.http.server_address[1]}/mnist/"


def send(handler: BaseHTTPRequestHandler, content: bytes) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(content)))
    handler.end_headers()
    handler.wfile.write(content)


@pytest.fixture
def server(published: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[_Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    started = _Server(published)
    thread = threading.Thread(target=started.http.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield started
    started.http.shutdown()
    started.http.server_close()
    thread.join(5)


def test_a_folder_that_is_named_is_read(published: Path) -> None:
    for folder in (published, str(published)):
        data = mnist(folder, mirrors=())
        assert data.images.shape == (6, 4, 4)
        assert data.images.dtype == np.uint8
        assert data.labels is not None
        assert data.labels.tolist() == [0, 1, 2, 9, 1, 0]
        assert data.test_labels is not None
        assert data.test_labels.tolist() == [3, 4]
        assert data.class_names == list("0123456789")
        assert data.name == "mnist"
        assert str(published) in data.source


def test_the_variable_names_the_folder_or_its_parent(published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEURONWISE_DATA", str(published))
    assert len(mnist(mirrors=())) == 6
    published.rename(published.with_name("mnist"))
    monkeypatch.setenv("NEURONWISE_DATA", str(published.parent))
    assert len(mnist(mirrors=())) == 6


def test_uncompressed_and_newly_compressed_copies_are_as_good(published: Path) -> None:
    for index, path in enumerate(sorted(published.iterdir())):
        plain = gzip.decompress(path.read_bytes())
        if index % 2:
            path.unlink()
            path.with_suffix("").write_bytes(plain)
        else:
            path.write_bytes(gzip.compress(plain, 1, mtime=12345))
    assert len(mnist(published)) == 6


def test_another_data_set_under_the_same_names_is_refused(published: Path) -> None:
    path = published / "train-images-idx3-ubyte.gz"
    write_idx(path, np.zeros((6, 4, 4), np.uint8))
    with pytest.raises(DataError, match=r"not the published MNIST: sha256 .* is [0-9a-f]{64}, expected") as caught:
        mnist(published)
    assert caught.value.where == str(path)
    assert caught.value.hint is not None
    assert str(published) in caught.value.hint


def test_an_incomplete_folder_is_refused_with_what_is_missing(published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (published / "t10k-labels-idx1-ubyte.gz").unlink()
    monkeypatch.setenv("NEURONWISE_DATA", str(published))
    with pytest.raises(DataError, match=r"MNIST is incomplete: t10k-labels-idx1-ubyte\.gz missing"):
        mnist(mirrors=())


def test_a_folder_without_it_is_refused_only_where_it_was_named(
    tmp_path: Path, server: _Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DataError, match=r"MNIST is not in this folder\nExpected.*train-images-idx3-ubyte.gz"):
        mnist(tmp_path / "published" / "..", mirrors=[server.address])
    with pytest.raises(DataError, match="no such folder"):
        mnist(tmp_path / "absent")
    assert server.asked == []
    monkeypatch.setenv("NEURONWISE_DATA", str(tmp_path / "absent"))
    assert len(mnist(mirrors=[server.address])) == 6


def test_the_download_is_checked_kept_and_used_again(server: _Server, cache: Path) -> None:
    seen: list[tuple[str, int, int | None]] = []
    data = mnist(mirrors=[server.address], progress=lambda *args: seen.append(args))
    assert data.images.shape == (6, 4, 4)
    names = [f"{file.name}.gz" for file in module.FILES]
    assert server.asked == names
    assert sorted(path.name for path in cache.iterdir()) == sorted(names)
    assert list(dict.fromkeys(name for name, _, _ in seen)) == names
    assert all(done == total for _, done, total in seen)
    again = mnist(mirrors=[])
    assert again.fingerprint == data.fingerprint
    assert server.asked == names


def test_a_damaged_file_in_the_cache_is_fetched_anew(server: _Server, cache: Path) -> None:
    data = mnist(mirrors=[server.address])
    path = cache / "train-images-idx3-ubyte.gz"
    write_idx(path, np.zeros((6, 4, 4), np.uint8))
    (cache / "t10k-labels-idx1-ubyte.gz").write_bytes(b"torn")
    server.asked.clear()
    assert mnist(mirrors=[server.address]).fingerprint == data.fingerprint
    assert server.asked == ["train-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"]
    assert (read_idx(path) == data.images).all()


def other_data(handler: BaseHTTPRequestHandler, content: bytes) -> None:
    send(handler, gzip.compress(gzip.decompress(content)[:-1] + b"\x07"))


def torn(handler: BaseHTTPRequestHandler, content: bytes) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(content)))
    handler.end_headers()
    handler.wfile.write(content[:-20])


def torn_in_silence(handler: BaseHTTPRequestHandler, content: bytes) -> None:
    handler.send_response(200)
    handler.end_headers()
    handler.wfile.write(content[:-20])


def not_found(handler: BaseHTTPRequestHandler, content: bytes) -> None:
    handler.send_error(404, "Not here")


def login_page(handler: BaseHTTPRequestHandler, content: bytes) -> None:
    send(handler, b"<!DOCTYPE html>please log in")


def endless(handler: BaseHTTPRequestHandler, content: bytes) -> None:
    handler.send_response(200)
    handler.end_headers()
    try:
        for _ in range(1000):
            handler.wfile.write(bytes(65_536))
    except OSError:
        pass


def bomb(handler: BaseHTTPRequestHandler, content: bytes) -> None:
    send(handler, gzip.compress(gzip.decompress(content)[:16] + bytes(20_000_000)))


def nonsense(handler: BaseHTTPRequestHandler, content: bytes) -> None:
    handler.wfile.write(b"nothing like HTTP\r\n\r\n")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (other_data, r"wrong checksum: sha256 [0-9a-f]{64} of the content, [0-9a-f]{64} expected"),
        (torn, r"IncompleteRead|truncated: \d+ bytes announced, \d+ received"),
        (torn_in_silence, "truncated gzip file"),
        (not_found, "HTTP 404 Not here"),
        (login_page, "this is no IDX file: it begins with the bytes 3c 21 44 4f"),
        (endless, "the answer is longer than"),
        (bomb, "longer than its header says"),
        (nonsense, "nothing like HTTP"),
    ],
)
def test_a_bad_answer_is_told_and_never_kept(answer: Answer, said: str, server: _Server, cache: Path) -> None:
    server.answer = answer
    with pytest.raises(DataError, match="could not be downloaded") as caught:
        mnist(mirrors=[server.address])
    assert re.search(rf"  http://127\.0\.0\.1:\d+/mnist/train-images-idx3-ubyte\.gz: .*({said})", caught.value.message)
    assert not cache.exists() or list(cache.iterdir()) == []


def test_the_next_mirror_is_tried(server: _Server) -> None:
    asked: list[int] = []

    def first_fails(handler: BaseHTTPRequestHandler, content: bytes) -> None:
        asked.append(1)
        (not_found if len(asked) % 2 else send)(handler, content)

    server.answer = first_fails
    assert len(mnist(mirrors=[server.address, server.address])) == 6


def test_without_a_network_it_says_how_to_provide_the_files(
    published: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(*args: object, **kwargs: object) -> None:
        raise urllib.error.URLError(OSError(-2, "Name or service not known"))

    monkeypatch.setattr(urllib.request, "urlopen", unreachable)
    with pytest.raises(DataError) as caught:
        mnist()
    text = str(caught.value)
    for mirror in MIRRORS:
        assert f"{mirror}train-images-idx3-ubyte.gz: [Errno -2] Name or service not known" in text
    for word in (str(cache), "export NEURONWISE_DATA=", "digits", *(f"{file.name}.gz" for file in module.FILES)):
        assert word in text
    assert caught.value.exit_code == 2


def test_a_connection_refused_is_told(published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    closed = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    address = f"http://127.0.0.1:{closed.server_address[1]}/"
    closed.server_close()
    with pytest.raises(DataError, match="Connection refused"):
        mnist(mirrors=[address])


def test_no_network_is_touched_when_that_is_asked(server: _Server) -> None:
    with pytest.raises(DataError, match=r"MNIST is not on this machine\n(.|\n)*NEURONWISE_DATA"):
        mnist(download=False, mirrors=[server.address])
    assert server.asked == []


def test_only_web_addresses_are_followed(published: Path) -> None:
    with pytest.raises(DataError, match="an address starts with https://"):
        mnist(mirrors=[published.as_uri()])


def test_the_mirrors_are_reached_by_https_only() -> None:
    assert len(MIRRORS) >= 2
    assert all(mirror.startswith("https://") for mirror in MIRRORS)


def test_a_cache_that_cannot_be_written_is_told(server: _Server, tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file where the folder should be")
    with pytest.raises(DataError, match=r"cannot be kept(.|\n)*NEURONWISE_HOME"):
        mnist(mirrors=[server.address])


def test_the_checksums_are_those_of_the_published_data(shared_data: Path) -> None:
    data = mnist(shared_data / "mnist")
    assert (len(data.images), len(data.test_images if data.test_images is not None else ())) == (60_000, 10_000)
    for file in module.FILES:
        content = gzip.decompress((shared_data / "mnist" / f"{file.name}.gz").read_bytes())
        assert len(content) == file.size_bytes
        assert hashlib.sha256(content).hexdigest() == file.sha256
