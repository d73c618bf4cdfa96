import importlib.util

import keras
import pytest

from fcam_tf import cli
from fcam_tf.data import write_shapes
from tests.models.tiny import tiny_classifier

HAS_BEAM = importlib.util.find_spec("apache_beam") is not None
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
FAST = ("--recipe=small", "--set=crop=32", "--set=resize=36", "--method=layercam")


def status(*arguments):
    return cli.run(["fcam", "store-cams", *map(str, arguments)])


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """Return the flags of a data set of ten photos and of a model."""
    folder = tmp_path_factory.mktemp("given")
    data = write_shapes(folder / "shapes", {"train": 10, "val": 5}, 48)
    keras.utils.set_random_seed(0)
    tiny_classifier(classes=5).save(folder / "tiny.keras")
    return (f"--data={data}", f"--model={folder / 'tiny.keras'}", *FAST)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--dry-run", "--shard-size=32"], "--runner local takes no --shard-size, --dry-run;"),
        ([], "--model is missing"),
        (["--model=no.keras"], "no.keras: there is no such file"),
    ],
)
def test_wrong_usage(flags, message, tmp_path, capfd):
    assert status("--data=shapes", "--out", tmp_path / "maps", *flags) == 2
    assert message in capfd.readouterr().err
    assert not (tmp_path / "maps").exists()


def test_maps_are_stored_once_and_the_training_is_named(given, tmp_path, capfd):
    out = tmp_path / "maps"
    assert status(*given, "--out", out) == 0
    assert {path.name for path in out.iterdir()} == {"cams.json", "cams.npy"}
    err = capfd.readouterr().err
    assert f"10 maps in {out}; next: fcam train fcam --data " in err
    assert "--set cams=stored --set crop=32" in err
    assert err.endswith(f"--cams {out} --out RUN\n")
    written = (out / "cams.npy").stat().st_mtime_ns
    assert status(*given, "--out", out) == 0
    assert (out / "cams.npy").stat().st_mtime_ns == written
    assert status(*given, "--out", out, "--set=stored_flip=true") == 2
    assert "flip" in capfd.readouterr().err
    assert status(*given, "--out", tmp_path / "b", "--set=cams=online") == 2
    assert "'online'" in capfd.readouterr().err


def test_photos_in_another_order_are_refused_in_words(given, tmp_path, capfd):
    data = write_shapes(tmp_path / "shapes", {"train": 4}, 48)
    for file in (data / "metadata" / "train").glob("localization*"):
        file.unlink()
    flags = (f"--data={data}", *given[1:], "--out", tmp_path / "maps")
    assert status(*flags) == 0
    for file in (data / "metadata" / "train").iterdir():
        file.write_text("\n".join(reversed(file.read_text().splitlines())))
    assert status(*flags) == 2
    assert "--data has other photos now, or in another order, " in capfd.readouterr().err


@pytest.mark.skipif(HAS_BEAM, reason="Apache Beam is installed")
def test_the_extra_is_named(given, tmp_path, capfd):
    assert status(*given, "--out", tmp_path, "--runner=beam") == 2
    assert "pip install 'fcam_tf[beam]'" in capfd.readouterr().err


@pytest.mark.skipif(not HAS_BEAM, reason="needs Apache Beam")
def test_by_beam(given, tmp_path, capfd):
    one, out = tmp_path / "one", tmp_path / "maps"
    beam = (*given, "--out", out, "--runner=beam", "--shard-size=16")
    assert status(*beam, "--dry-run") == 0
    err = capfd.readouterr().err
    assert "10 photos, 10 of them to do in 1 shards" in err
    assert "the pipeline for DirectRunner is valid; nothing was run" in err
    assert not out.exists()

    assert status(*given, "--out", one) == 0
    assert status(*beam) == 0
    assert {path.name: path.read_bytes() for path in out.iterdir()} == {
        path.name: path.read_bytes() for path in one.iterdir()
    }
    assert status(*beam) == 0
    assert "10 photos, 0 of them to do in 0 shards" in capfd.readouterr().err
    assert status(*beam, "--shard-size=20") == 2
    assert "--shard-size must be a multiple of 16" in capfd.readouterr().err


@pytest.mark.skipif(not HAS_BEAM, reason="needs Apache Beam")
def test_a_broken_photo_ends_it_as_on_one_machine(given, tmp_path, capfd):
    data = write_shapes(tmp_path / "shapes", {"train": 10}, 48)
    photo = sorted((data / "images").rglob("*.png"))[3]
    photo.write_bytes(photo.read_bytes()[:200])  # its header is whole
    given = (f"--data={data}", *given[1:], "--out", tmp_path / "maps")
    told = []
    for flags in ([], ["--runner=beam"]):
        assert status(*given, *flags) == 1
        told.append([line for line in capfd.readouterr().err.splitlines() if "fcam: " in line])
    assert str(photo) in told[0][0]
    assert "--skip-broken" in told[0][1]
    assert told[0] == told[1][-2:]  # Beam tells its traceback first
