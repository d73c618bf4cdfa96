from pathlib import Path

import numpy as np
import pytest

from fcam_tf.photos import Photo, PhotoError
from fcam_tf.predict import pipeline
from fcam_tf.predict.sources import Failure, Source


class Counted:
    """Knows how many photos are alive."""

    alive = most = 0

    def __init__(self):
        Counted.alive += 1
        Counted.most = max(Counted.most, Counted.alive)

    def __del__(self):
        Counted.alive -= 1


class Outputs:
    def write(self, name, photo, result):
        assert photo.width == 4
        return {"name": name, "label": int(result.labels)}


@pytest.mark.parametrize("batch_size", [1, 4])
def test_only_the_next_few_photos_are_in_memory(monkeypatch, fake_localizer, batch_size):
    Counted.alive = Counted.most = 0

    def read_photo(path, input_size):
        if path.stem.endswith("7"):
            raise PhotoError("it ends in 7")
        photo = Photo(np.zeros((input_size, input_size, 3), np.uint8), None, 4, 4)
        object.__setattr__(photo, "counted", Counted())
        return photo

    monkeypatch.setattr(pipeline, "read_photo", read_photo)
    drawn = []

    def sources():
        for i in range(300):
            drawn.append(i)
            yield Source(Path(f"/nowhere/{i}.jpg"), str(i))

    localizer = fake_localizer()
    stream = pipeline.localize_stream(
        sources(), localizer, Outputs(), label=1, batch_size=batch_size
    )
    results = []
    for result in stream:
        results.append(result)
        assert len(drawn) <= len(results) + 6 * batch_size + 3
    failures = [result for result in results if isinstance(result, Failure)]
    records = [result for result in results if not isinstance(result, Failure)]
    assert len(failures) == 30
    assert [record["name"] for record in records] == [str(i) for i in range(300) if i % 10 != 7]
    assert all(record["label"] == 1 for record in records)
    assert set(localizer.batches[:-1]) == {batch_size}
    # A batch being localised, and at most two more on either side of the model.
    assert Counted.most <= 5 * batch_size + 2
