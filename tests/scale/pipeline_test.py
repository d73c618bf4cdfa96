import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("apache_beam")

from fcam_tf.scale import pipeline, store
from fcam_tf.scale.inputs import plan_shards
from fcam_tf.scale.store import Store, places_of
from tests.scale import fake

# Of Beam, about packages for Google's cloud, and of its own.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning"),
]


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(7):
        pixels = rng.integers(0, 256, (20, 24, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    (folder / "3.png").write_bytes(b"no photo")
    return str(folder)


def contents(out):
    return {path.name: path.read_bytes() for path in Path(out).iterdir()}


def test_each_shard_is_done_once(photos, tmp_path):
    out = tmp_path / "out"
    assert len(fake.run(out, [], [photos])) == 3
    done = contents(out)
    kinds = sorted(re.sub(r"part-\d+-\w+", "part", name) for name in done)
    assert kinds == ["part.failures.jsonl", *["part.parquet"] * 3, "plan.jsonl", "settings.json"]
    assert fake.run(out, [], [photos]) == []
    first, second, _ = sorted(out.glob("*.parquet"))
    second.unlink()
    untouched = first.stat().st_mtime_ns
    assert [place.name for place in fake.run(out, [], [photos])] == [second.stem]
    assert first.stat().st_mtime_ns == untouched
    assert contents(out) == done


def test_results_on_an_object_store_are_the_same(photos, tmp_path):
    fake.run(tmp_path / "out", [], [photos])
    remote = "memory://results"
    fake.run(remote, [], [photos])
    folder, here = Store(remote), contents(tmp_path / "out")
    assert {name: folder.read(name) for name in folder.names()} == {
        name: data for name, data in here.items() if name.startswith("part")
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        ["direct_num_workers=2", "direct_running_mode=multi_processing"],
        ["runner=PortableRunner", "job_endpoint=embed", "environment_type=LOOPBACK"],
        [
            *(
                "runner=PortableRunner",
                "job_endpoint=embed",
                "environment_type=beam:env:harness_subprocess_python:v1",
            ),
            "environment_config=python -m apache_beam.runners.worker.sdk_worker_main",
        ],
    ],
    ids=["two", "loopback", "subprocess"],
)
def test_other_workers_give_the_same(photos, tmp_path, options, monkeypatch):
    import sys  # noqa: PLC0415

    root = str(Path(__file__).parents[2])
    monkeypatch.setenv("PYTHONPATH", root)  # of the workers
    options = [option.replace("=python ", f"={sys.executable} ") for option in options]
    fake.run(tmp_path / "one", [], [photos])
    fake.run(tmp_path / "other", options, [photos])
    assert contents(tmp_path / "one") == contents(tmp_path / "other")


def test_what_a_worker_raises_ends_the_job(photos, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise ValueError("The logits are not finite")

    monkeypatch.setattr(pipeline, "localize_shard", refuse)
    with pytest.raises(ValueError, match="The logits are not finite"):
        fake.run(tmp_path / "out", [], [photos])
    assert not list((tmp_path / "out").glob("part*"))


def test_counts(photos, tmp_path):
    plan = plan_shards([photos], shard_size=3)
    folder = store.Store(str(tmp_path / "out"))
    with folder.claimed({}, overwrite=False) as claim:
        places = claim.begin(plan.shards)
        built = pipeline.build(pipeline.parse_options([]), folder, places, fake.handler())
        assert pipeline.run(built) == {"photos": 6, "failures": 1}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["direct_num_worker=2"], "unknown to Apache Beam: 'direct_num_worker'; did you mean"),
        (["direct_num_workers=two"], "wrong: argument --direct_num_workers: invalid int value"),
        (["runner=DataflowRunner"], "does not fit DataflowRunner: .*option: project"),
    ],
)
def test_options_are_held_to_what_beam_knows(options, message):
    with pytest.raises(ValueError, match=message):
        pipeline.parse_options(options)


LINES = re.findall(
    r"^fcam localize(?:[^\n]*\\\n)+[^\n]*--dry-run$",
    (Path(__file__).parents[2] / "docs" / "scale.md").read_text("utf-8"),
    re.MULTILINE,
)


@pytest.mark.parametrize("line", LINES, ids=lambda line: re.search(r"runner=(\w+)", line)[1])
def test_the_lines_of_the_documentation(line, photos, tmp_path):
    given = re.findall(r"--beam-option '?(.*?)'?(?: \\$| --|$)", line, re.MULTILINE)
    options = pipeline.parse_options(given)
    assert f"runner={pipeline.runner_name(options)}" in given
    places = places_of(plan_shards([photos]).shards)
    built = pipeline.build(options, Store(str(tmp_path)), places, fake.handler(), local=True)
    labels = {
        transform.unique_name for transform in built.to_runner_api().components.transforms.values()
    }
    assert {"Shards", "Read", "Localise", "Write"} <= labels


def test_there_are_lines():
    assert len(LINES) == 3
