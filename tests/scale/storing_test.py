import functools
import shutil
from pathlib import Path

import pytest

pytest.importorskip("apache_beam")

from fcam_tf.training.cam_store import store
from tests.scale import fake_cams

# Of Beam, about packages for Google's cloud, and of its own.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning"),
]


def contents(out):
    return {path.name: path.read_bytes() for path in Path(out).iterdir()}


def test_maps_are_those_of_one_machine(forty, tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    store(fake_cams.teacher(), fake_cams.split_of(forty), one, verbose=0)
    assert len(fake_cams.run(other, forty)) == 3
    assert contents(one) == contents(other)
    assert fake_cams.run(other, forty) == []
    file = other / "cams.npy"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    assert [block.name for block in fake_cams.run(other, forty)] == ["32-39"]
    assert contents(one) == contents(other)


@pytest.mark.slow
@pytest.mark.parametrize(
    "options", [["direct_num_workers=2", "direct_running_mode=multi_processing"]], ids=["two"]
)
def test_other_workers_give_the_same(forty, tmp_path, options, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))  # of the workers
    fake_cams.run(tmp_path / "one", forty)
    fake_cams.run(tmp_path / "other", forty, options)
    assert contents(tmp_path / "one") == contents(tmp_path / "other")


def test_another_teacher_on_a_worker_is_refused(forty, tmp_path):
    load = functools.partial(fake_cams.load, "other")
    with pytest.raises(Exception, match="The teacher is another on this worker: method was 'bri"):
        fake_cams.run(tmp_path / "out", forty, load=load)


def test_a_broken_photo_ends_the_job(forty, tmp_path):
    photos = shutil.copytree(forty, tmp_path / "photos")
    (photos / "20.png").write_bytes((photos / "20.png").read_bytes()[:100])
    with pytest.raises(Exception, match=r"20\.png: "):
        fake_cams.run(tmp_path / "out", photos)
