"""Downloads from a server on this machine: resumed, hash-checked, https only."""

import hashlib
import http.client
import http.server
import io
import re
import threading
import urllib.request

import pytest
import rich.console

from tofu_jax.errors import DataError
from tofu_jax.graphs.datasets.download import fetch

CONTENT = bytes(range(256)) * 4000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
URL = "https://example.org/data/train.txt"


class Server(http.server.BaseHTTPRequestHandler):
    """Serves CONTENT; the tests set what goes wrong."""

    ranges = True  # whether a download can be resumed
    breaks_after = None  # bytes, after which the connection ends
    length_told = True
    redirect = None
    requests: list[str | None] = []  # noqa: RUF012

    def do_GET(self):
        asked = self.headers["Range"]
        self.requests.append(asked)
        if self.redirect and self.path != "/elsewhere":
            self.send_response(302)
            self.send_header("Location", self.redirect)
            self.end_headers()
            return
        if self.path == "/missing":
            self.send_error(404)
            return
        start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1]) if asked and self.ranges else 0
        if start >= len(CONTENT):
            self.send_error(416)
            return
        self.send_response(206 if asked and self.ranges else 200)
        if asked and self.ranges:
            self.send_header("Content-Range", f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
        if self.length_told:
            self.send_header("Content-Length", str(len(CONTENT) - start))
        self.end_headers()
        end = len(CONTENT) if self.breaks_after is None else start + self.breaks_after
        self.wfile.write(CONTENT[start:end])

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    behaviour = type("Behaviour", (Server,), {"requests": []})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), behaviour) as running:
        behaviour.port = running.server_port
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield behaviour
        running.shutdown()
        thread.join()


def loopback(server):
    """What opens https connections, but to the server of this test."""

    class Loopback(urllib.request.HTTPSHandler):
        def https_open(self, req):
            return self.do_open(lambda host, **settings: http.client.HTTPConnection("127.0.0.1", server.port, **settings), req)

    return [Loopback()]


def test_a_file_appears_whole_and_is_not_fetched_twice(tmp_path, server):
    path = tmp_path / "new" / "train.txt"
    for _ in range(2):
        assert fetch(URL, path, SHA256, handlers=loopback(server)) == SHA256
    assert path.read_bytes() == CONTENT
    assert list(path.parent.iterdir()) == [path]
    assert server.requests == [None]


@pytest.mark.parametrize("length_told", [True, False])
def test_without_a_hash_what_comes_is_taken_and_its_hash_is_told(tmp_path, server, length_told):
    server.length_told = length_told
    assert fetch(URL, tmp_path / "train.txt", handlers=loopback(server)) == SHA256


def test_progress_is_shown(tmp_path, server):
    console = rich.console.Console(file=io.StringIO(), width=100)
    fetch(URL, tmp_path / "train.txt", SHA256, console, loopback(server))
    assert f"train.txt {len(CONTENT):,}/{len(CONTENT):,}  bytes" in console.file.getvalue()


def test_an_interrupted_download_goes_on_where_it_stopped(tmp_path, server):
    server.breaks_after = 300_000
    path = tmp_path / "train.txt"
    for have in (300_000, 600_000):
        with pytest.raises(DataError, match=f"{have:,} of {len(CONTENT):,} bytes arrived") as raised:
            fetch(URL, path, SHA256, handlers=loopback(server))
        assert URL in str(raised.value)
        assert str(path) in str(raised.value)
        assert not path.exists()
    server.breaks_after = None
    fetch(URL, path, SHA256, handlers=loopback(server))
    assert path.read_bytes() == CONTENT
    assert server.requests == [None, "bytes=300000-", "bytes=600000-"]


def test_a_server_that_cannot_resume_sends_everything_again(tmp_path, server):
    server.ranges = False
    (tmp_path / "train.txt.partial").write_bytes(CONTENT[:1000])
    fetch(URL, tmp_path / "train.txt", SHA256, handlers=loopback(server))
    assert (tmp_path / "train.txt").read_bytes() == CONTENT


def test_a_partial_file_that_is_too_long_is_dropped(tmp_path, server):
    (tmp_path / "train.txt.partial").write_bytes(CONTENT + b"more")
    fetch(URL, tmp_path / "train.txt", SHA256, handlers=loopback(server))
    assert server.requests == [f"bytes={len(CONTENT) + 4}-", None]


@pytest.mark.parametrize("name", ["train.txt", "train.txt.partial"])
def test_another_content_is_refused_and_removed(tmp_path, server, name):
    (tmp_path / name).write_bytes(b"something else")
    with pytest.raises(DataError, match=f"expected {SHA256}") as raised:
        fetch(URL, tmp_path / "train.txt", SHA256, handlers=loopback(server))
    assert URL in str(raised.value)
    assert list(tmp_path.iterdir()) == []
    fetch(URL, tmp_path / "train.txt", SHA256, handlers=loopback(server))


def test_a_missing_file_names_url_and_place(tmp_path, server):
    url = "https://example.org/missing"
    with pytest.raises(DataError, match=re.escape(f"{url}: cannot be downloaded to {tmp_path / 'x'} (HTTP 404 Not Found)")):
        fetch(url, tmp_path / "x", handlers=loopback(server))
    assert list(tmp_path.iterdir()) == []


def test_without_a_network_the_error_names_url_and_place(tmp_path, server):
    class Nowhere(urllib.request.HTTPSHandler):
        def https_open(self, req):
            raise OSError("no route to host")

    with pytest.raises(DataError, match=re.escape(f"{URL}: cannot be downloaded to {tmp_path / 'x'} (no route to host)")):
        fetch(URL, tmp_path / "x", handlers=[Nowhere()])


@pytest.mark.parametrize("url", ["http://example.org/x", "ftp://example.org/x", "file:///etc/hostname"])
def test_only_https_is_fetched(tmp_path, url):
    with pytest.raises(DataError, match="not https"):
        fetch(url, tmp_path / "x")


def test_redirects_are_followed_to_https_only(tmp_path, server):
    server.redirect = "https://example.org/elsewhere"
    assert fetch(URL, tmp_path / "x", handlers=loopback(server)) == SHA256
    for target, reason in (("http://example.org/elsewhere", "not https"), ("file:///etc/hostname", "not allowed")):
        server.redirect = target
        with pytest.raises(DataError, match=f"{target}.*{reason}"):
            fetch(URL, tmp_path / "y", handlers=loopback(server))
    assert not (tmp_path / "y").exists()
