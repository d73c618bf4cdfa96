import importlib.util
import json

import pytest

from fcam_tf import cli
from fcam_tf.commands import beam
from fcam_tf.data.split import BrokenPhotoError
from tests.commands.localize_test import photos, tiny  # noqa: F401 - fixtures

HAS_BEAM = importlib.util.find_spec("apache_beam") is not None
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


def status(*arguments):
    return cli.run(["fcam", "localize", *map(str, arguments)])


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--dry-run", "--shard-size=3"], "--runner local takes no --shard-size, --dry-run;"),
        (["--runner=beam", "--crops", "--fps=2"], "--runner beam takes no --crops, --fps;"),
        (["--runner=beam", "--heatmap=npy"], "leave out --heatmap npy"),
        (["--runner=beam", "--refine=crf"], "add --heatmap none"),
        (["--runner=bean"], "did you mean"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_flags_that_mean_nothing_are_refused(flags, message, capfd):
    assert status("photos", *flags) == 2
    assert message.lower() in capfd.readouterr().err.lower()


@pytest.mark.skipif(HAS_BEAM, reason="Apache Beam is installed")
@pytest.mark.usefixtures("photos")
def test_the_extra_is_named(tiny, capfd):  # noqa: F811
    assert status("photos", "--model", tiny, "--runner=beam") == 2
    assert "pip install 'fcam_tf[beam]'" in capfd.readouterr().err


@pytest.mark.skipif(not HAS_BEAM, reason="needs Apache Beam")
def test_a_dry_run_and_a_run(tiny, photos, tmp_path, capfd):  # noqa: F811
    (photos / "broken.png").write_bytes(b"no photo")
    given = ["photos", "--model", tiny, "--runner=beam", "--shard-size=2", "--label=uno"]
    assert status(*given, "--dry-run") == 0
    out = tmp_path / "fcam-output"
    assert not out.exists()
    assert "4 photos in 2 shards, 0 of them done before" in capfd.readouterr().err

    assert status(*given) == 1
    err = capfd.readouterr().err
    assert f"fcam: {photos}/broken.png: this is not a photo in a format" in err
    assert "3 localised, 2 shards done, 1 failed; results in fcam-output" in err
    settings = json.loads((out / "settings.json").read_text())
    assert settings["made_with"]["label"] == [0]
    assert len(list(out.glob("part-*.parquet"))) == 2

    assert status(*given) == 0
    assert "0 shards done, 2 done before; results in" in capfd.readouterr().err
    assert status(*given, "--threshold=0.5") == 2
    assert "threshold was 'auto' and is now 0.5" in capfd.readouterr().err
    assert status(*given, "--beam-option=runer=X") == 2
    assert "unknown to Apache Beam: 'runer'" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("text", "kind", "said"),
    [
        ("The logits are not finite [while running 'Localise/X']", RuntimeError, "The logits "),
        (
            "Traceback:\n  File x\na.b.BrokenPhotoError: /c.png: it is cut [while running 'X-3']\n",
            BrokenPhotoError,
            "/c.png: it is cut",
        ),
        ("", RuntimeError, "ValueError"),
    ],
)
def test_what_a_worker_raised(text, kind, said):
    found = beam.cause(ValueError(text))
    assert type(found) is kind
    assert str(found).startswith(said)
    assert "while running" not in str(found)
