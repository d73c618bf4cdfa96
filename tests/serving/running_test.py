import contextlib
import json
import re
import signal
import socket
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest

from fcam_tf import cli
from tests.children import Child
from tests.serving.conftest import photo

SERVE = "import sys; from fcam_tf import cli; sys.exit(cli.run(['fcam', 'serve', *sys.argv[1:]]))"


@contextlib.contextmanager
def serving(*arguments):
    """Run ``fcam serve`` as a process; give it, and its address when it is ready."""
    process = Child(SERVE, [*arguments, "--port", "0"])
    try:
        while not (found := re.search(r"is served at (http://\S+)\s", process.said())):
            assert process.poll() is None, process.said()
            time.sleep(0.05)
        yield process, found[1]
    finally:
        process.kill()


def send(url, content=None):
    """Return the status and the JSON that come."""
    try:
        with urllib.request.urlopen(url, content, timeout=60) as answer:  # noqa: S310
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_when_all_is_answered(exported, number):
    with (
        serving(exported.parent, "--name", "birds", "--delay", "1500") as (process, url),
        ThreadPoolExecutor(3) as pool,
    ):
        assert send(f"{url}/healthz") == (200, {"status": "ready"})
        assert send(f"{url}/v1/models/birds")[0] == 200
        begun = [pool.submit(send, f"{url}/localize", photo(seed=n)) for n in range(3)]
        time.sleep(0.5)  # while they wait for more to make a batch
        process.send_signal(number)
        answers = [future.result(60) for future in begun]
        process.communicate(60)
        assert process.poll() == 0
    assert [status for status, _ in answers] == [200] * 3
    assert all(set(answer) >= {"label", "score", "box"} for _, answer in answers)


@pytest.mark.slow
def test_more_than_may_wait_are_sent_away_and_nothing_is_lost(exported):
    with (
        serving(exported, "--delay", "1000", "--waiting", "2") as (_, url),
        ThreadPoolExecutor(12) as pool,
    ):
        content = photo(400, 300, "PNG")  # more than a socket holds
        found = list(pool.map(lambda _: send(f"{url}/localize", content), range(12)))
        statuses = {status for status, _ in found}
        assert statuses == {200, 503}
        assert send(f"{url}/localize", content)[0] == 200


def status(*arguments):
    return cli.run(["fcam", "serve", *map(str, arguments)])


def test_wrong_usage(exported, capfd):
    assert status("resnet51_layercam") == 2
    assert "Did you mean 'resnet50_layercam'" in capfd.readouterr().err
    assert status(exported, "--threshold", "0.5") == 2
    assert "--threshold is for models that are not exported yet" in capfd.readouterr().err
    assert status(exported, "--name", "a/b") == 2
    assert "--name must be letters" in capfd.readouterr().err
    assert status(exported, "--port", "70000") == 2
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert status(exported, "--port", port) == 1
    assert f"cannot listen at 127.0.0.1, port {port}: " in capfd.readouterr().err


def test_a_model_that_cannot_be_loaded_ends_the_server(tmp_path, capfd):
    (tmp_path / "saved_model.pb").write_text("nothing")
    assert status(tmp_path, "--port", "0") == 2
    assert "is not a SavedModel of fcam export, or damaged" in capfd.readouterr().err
