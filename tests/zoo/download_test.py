import contextlib
import hashlib
import io
import json
import re
import signal
import subprocess
import sys
import threading
import time
import tomllib
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from fcam_tf.zoo.fetch import find_weights
from tests.zoo.conftest import NAME, cached

ROOT = Path(__file__).parents[2]


def test_a_download_goes_on_where_it_stopped(card, elsewhere, tmp_path):
    content = (elsewhere / NAME / "weights.safetensors").read_bytes()
    found = find_weights(card, tmp_path)
    found.unlink()
    part = found.with_suffix(".part") / "weights.safetensors"
    part.parent.mkdir()
    part.write_bytes(content[:1000])
    # What is there already is not read again: an address whose beginning is gone still serves.
    (elsewhere / NAME / "weights.safetensors").write_bytes(b"\0" * 1000 + content[1000:])
    assert find_weights(card, tmp_path).read_bytes() == content
    assert [path.suffix for path in found.parent.iterdir()] == [
        ".weights"
    ]  # no lock, nothing begun


@pytest.fixture
def part(card, tmp_path):
    """Name the file of an attempt that was stopped."""
    place = tmp_path / "cache" / "zoo" / f"{NAME}-{card['weights']['sha256'][:16]}.part"
    place.mkdir(parents=True)
    return place / "weights.safetensors"


def test_a_wrong_answer_is_dropped_and_the_next_address_asked(card, elsewhere, tmp_path):
    good = elsewhere / NAME / "good.safetensors"
    (elsewhere / NAME / "weights.safetensors").rename(good)
    (elsewhere / NAME / "weights.safetensors").write_bytes(b"<html>Sign in</html>")
    card["weights"]["addresses"] = [good.as_uri()]
    assert find_weights(card, tmp_path).read_bytes() == good.read_bytes()


@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize("whole", [False, True])
def test_what_was_wrong_from_the_start_is_fetched_anew(card, tmp_path, part, whole):
    part.write_bytes(b"<html>".ljust(card["weights"]["bytes"] if whole else 0))
    assert find_weights(card, tmp_path).is_file()
    assert not part.exists()


def test_a_download_that_was_complete_needs_no_address(card, elsewhere, tmp_path, part):
    (elsewhere / NAME / "weights.safetensors").rename(part)
    assert find_weights(card, tmp_path).is_file()


def test_what_came_so_far_outlives_a_dead_address(card, elsewhere, tmp_path, part):
    (elsewhere / NAME / "weights.safetensors").unlink()
    part.write_bytes(b"\0" * 1000)
    with pytest.raises(FileNotFoundError, match="cannot be found"):
        find_weights(card, tmp_path)
    assert part.stat().st_size == 1000


def test_a_resumed_download_that_breaks_off_again_keeps_what_it_got(
    card, elsewhere, tmp_path, part, monkeypatch
):
    content = (elsewhere / NAME / "weights.safetensors").read_bytes()
    part.write_bytes(content[:1000])

    class Breaking(io.BytesIO):
        def read(self, _):
            if self.tell() > 1000:
                raise ConnectionError
            return super().read(500)

    monkeypatch.setattr("fsspec.open", lambda *_, **__: Breaking(content))
    with pytest.raises(FileNotFoundError, match=r"weights\.safetensors: ConnectionError"):
        find_weights(card, tmp_path)
    assert part.read_bytes() == content[:1500]


@pytest.mark.parametrize(("begun", "more"), [(0, {"block_size": 0}), (1000, {})])
def test_a_long_download_ends_only_when_nothing_comes(
    card, elsewhere, tmp_path, part, monkeypatch, begun, more
):
    content = (elsewhere / NAME / "weights.safetensors").read_bytes()
    part.write_bytes(content[:begun])
    asked = []

    def answer(address, _, **options):
        asked.append((address, options))
        return io.BytesIO(content)

    monkeypatch.setenv("FCAM_ZOO", "https://zoo.example")
    monkeypatch.setattr("fsspec.open", answer)
    assert find_weights(card, tmp_path).is_file()
    ((address, options),) = asked
    assert address == f"https://zoo.example/{NAME}/weights.safetensors"
    timeout = options.pop("client_kwargs")["timeout"]
    assert (timeout.total, timeout.sock_read) == (None, 60)
    assert options == more


@pytest.mark.usefixtures("elsewhere")
def test_a_read_only_cache_serves(card, tmp_path, monkeypatch):
    found = find_weights(card, tmp_path)

    def refuse(*_, **__):
        raise PermissionError

    monkeypatch.setattr("fcam_tf.zoo.download.made_and_locked", refuse)
    assert find_weights(card, tmp_path) == found


@pytest.mark.usefixtures("elsewhere")
def test_a_cache_that_cannot_be_made_is_a_reason(card, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("FCAM_CACHE", str(tmp_path / "file"))
    with pytest.raises(FileNotFoundError, match=r"cannot be found.*the cache: .*Not a directory"):
        find_weights(card, tmp_path)


@pytest.mark.usefixtures("elsewhere")
def test_who_names_a_cache_needs_no_home(card, tmp_path, monkeypatch):
    def homeless():
        raise RuntimeError("no home")

    monkeypatch.setattr(Path, "home", homeless)
    assert find_weights(card, tmp_path) == cached(tmp_path)[0]
    monkeypatch.delenv("FCAM_CACHE")
    with pytest.raises(FileNotFoundError, match=r"cannot be found.*the cache: no home"):
        find_weights(card, tmp_path)


@pytest.mark.usefixtures("elsewhere")
def test_an_empty_name_of_a_cache_is_the_default(card, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("FCAM_CACHE", "")
    assert find_weights(card, tmp_path).parent == tmp_path / "home" / ".cache" / "fcam_tf" / "zoo"


@pytest.mark.usefixtures("elsewhere")
def test_a_changed_cache_is_fetched_again(card, tmp_path):
    found = find_weights(card, tmp_path)
    good = found.read_bytes()
    found.write_bytes(b"changed")
    assert find_weights(card, tmp_path).read_bytes() == good


@pytest.mark.parametrize("ending", [b"", b"and more"])
def test_what_came_wrong_is_not_kept(card, elsewhere, tmp_path, ending):
    path = elsewhere / NAME / "weights.safetensors"
    path.write_bytes(b"\1" * card["weights"]["bytes"] + ending)
    with pytest.raises(FileNotFoundError, match="what came is not the file that the card"):
        find_weights(card, tmp_path)
    assert not cached(tmp_path)
    assert not list((tmp_path / "cache" / "zoo").glob("*.part"))


@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize(("protocol", "driver"), [("gs", "gcsfs"), ("s3", "s3fs")])
def test_a_missing_driver_is_named_with_the_line_that_installs_it(
    card, tmp_path, monkeypatch, protocol, driver
):
    monkeypatch.setitem(sys.modules, driver, None)  # as if it were not installed
    address = f"{protocol}://bucket/{NAME}/weights.safetensors"
    card["weights"]["addresses"] = [address]
    monkeypatch.delenv("FCAM_ZOO")
    message = f"{address}: {protocol}:// addresses need a package that is not installed: "
    with pytest.raises(FileNotFoundError, match=f"{message}pip install {driver}[.] Give"):
        find_weights(card, tmp_path)
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert any(driver in str(extra) for extra in extras["optional-dependencies"].values())


def test_other_missing_packages_are_told_of_as_fsspec_does(card, elsewhere, tmp_path, monkeypatch):
    del elsewhere
    monkeypatch.setitem(sys.modules, "adlfs", None)
    monkeypatch.setenv("FCAM_ZOO", "abfs://container")
    with pytest.raises(FileNotFoundError, match=r"abfs://container/.*: Install adlfs"):
        find_weights(card, tmp_path)


@pytest.mark.parametrize("begun", [0, 1000])
def test_http_of_a_server_that_gives_no_parts(card, elsewhere, tmp_path, part, monkeypatch, begun):
    pytest.importorskip("aiohttp")

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=elsewhere))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("FCAM_ZOO", f"http://127.0.0.1:{server.server_port}")
    part.write_bytes(b"\0" * begun)
    try:
        assert find_weights(card, tmp_path).stat().st_size == card["weights"]["bytes"]
    finally:
        server.shutdown()
        server.server_close()


FETCH = """
import json, pathlib, sys
from fcam_tf.zoo.fetch import find_weights
print(find_weights(json.loads(sys.argv[1]), pathlib.Path(sys.argv[2])))
"""


def fetching(card, folder, **options):
    command = [sys.executable, "-c", FETCH, json.dumps(card), folder]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options)


@pytest.mark.usefixtures("elsewhere")
def test_two_processes_fetch_once(card, tmp_path):
    runs = [fetching(card, tmp_path) for _ in range(2)]
    found = {run.communicate()[0].strip() for run in runs}
    assert len(found) == 1
    assert Path(found.pop()).is_file()


class Parts(BaseHTTPRequestHandler):
    """Gives parts of the server's content; of the first answer one half until it is let go."""

    def do_GET(self):
        content, asked = self.server.content, self.headers["Range"]
        first, last = re.fullmatch(r"bytes=(\d+)-(\d+)", asked or f"bytes=0-{10**9}").groups()
        part = content[int(first) : int(last) + 1]
        self.server.asked.append((asked, len(part)))
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(part)))
        if asked:
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
        self.end_headers()
        with contextlib.suppress(OSError):  # who asked was killed
            self.wfile.write(part[: len(part) // 2])
            self.server.go_on.wait()
            self.wfile.write(part[len(part) // 2 :])

    def do_HEAD(self):
        self.send_response(200)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(self.server.content)))
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def slow():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Parts)
    server.content = np.random.default_rng(0).bytes(400_000)
    server.asked, server.go_on = [], threading.Event()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.go_on.set()
    server.shutdown()
    server.server_close()


def test_a_killed_download_leaves_nothing_half_and_the_next_goes_on(slow, tmp_path, monkeypatch):
    monkeypatch.setenv("FCAM_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("FCAM_ZOO", raising=False)
    sha256 = hashlib.sha256(slow.content).hexdigest()
    address = (
        f"http://127.0.0.1:{slow.server_port}/weights.safetensors"  # none that a card may have
    )
    weights = {"sha256": sha256, "bytes": len(slow.content), "addresses": [address]}
    card = {"name": NAME, "weights": weights}
    first = fetching(card, tmp_path)
    part = tmp_path / "cache" / "zoo" / f"{NAME}-{sha256[:16]}.part" / "weights.safetensors"
    deadline = time.monotonic() + 60
    while not (part.exists() and part.stat().st_size > 100_000):
        assert first.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    waiting = fetching(card, tmp_path)  # for the other's lock
    first.kill()
    assert first.wait() == -signal.SIGKILL
    first.stdout.close()
    slow.go_on.set()
    found = Path(waiting.communicate(timeout=60)[0].strip())
    assert found.read_bytes() == slow.content
    assert [found] == cached(tmp_path)
    assert not part.exists()
    whole, rest = slow.asked
    assert whole == (None, len(slow.content))
    assert rest[1] == len(slow.content) - int(re.match(r"bytes=(\d+)-", rest[0])[1])
    assert rest[1] < 300_000
