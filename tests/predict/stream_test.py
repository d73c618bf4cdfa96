import threading

import pytest
from PIL import Image

from fcam_tf.predict.inputs import Failure, Source
from fcam_tf.predict.stream import localize_stream

WAIT = 60  # seconds, after which a test fails; none waits that long


@pytest.fixture
def sources(tmp_path):
    """Ten photos, of which 3 and 8 are damaged; the number of each is its brightness."""
    for i in range(10):
        Image.new("RGB", (4, 4), (10 * i + 5,) * 3).save(tmp_path / f"{i}.png")
    for i in (3, 8):
        (tmp_path / f"{i}.png").write_bytes(b"no photo")
    return [Source(tmp_path / f"{i}.png", str(i)) for i in range(10)]


def numbers_of(images):
    return images[:, 0, 0, 0].astype(int) // 10


@pytest.fixture
def localizer(fake_localizer):
    """A localizer that calls ``meet`` with the numbers of the photos of each batch."""

    class Meeting(fake_localizer):
        def __call__(self, images, labels=None):
            self.meet(numbers_of(images).tolist())
            return super().__call__(images, labels)

        def meet(self, numbers):
            pass

    return Meeting()


def stream(sources, localizer, calls, batch_size=2):
    def write(name, photo, result, pixels):
        assert pixels is None
        assert numbers_of(photo.pixels[None]) == int(name)
        return {"name": name, "heat": result.heatmaps.tobytes()}

    options = {"view": False, "batch_size": batch_size, "calls": calls}
    return localize_stream(sources, localizer, write, **options)


def name_of(each):
    return each.file[-5] if isinstance(each, Failure) else each["name"]


@pytest.mark.parametrize("calls", [2, 3, 8])
def test_results_and_their_order_are_those_of_one_call(sources, localizer, calls):
    one = list(stream(sources, localizer, 1))
    # Photo 3 failed while 2 and 4 were read for a batch, and 8 while 7 and 9 were.
    assert [name_of(each) for each in one] == list("0124356798")
    assert list(stream(sources, localizer, calls)) == one


def test_calls_run_at_once_after_the_first(sources, localizer):
    later, threads = threading.Event(), []

    def meet(numbers):
        threads.append(threading.current_thread())
        if numbers == [2, 4]:
            assert later.wait(WAIT)
        if numbers == [5, 6]:
            later.set()

    localizer.meet = meet
    records = [each for each in stream(sources, localizer, 2) if not isinstance(each, Failure)]
    assert [each["name"] for each in records] == list("01245679")
    first, *others = threads
    assert first is threading.current_thread()
    assert first not in others
    assert len(set(others)) == 2


@pytest.mark.parametrize("calls", [1, 2, 3])
def test_an_error_of_a_call_comes_in_its_place_and_ends_it(sources, localizer, calls):
    def meet(numbers):
        if 5 in numbers:
            raise ValueError("it is 5")

    localizer.meet = meet
    before, names = threading.active_count(), []
    with pytest.raises(ValueError, match="it is 5"):
        names.extend(map(name_of, stream(sources, localizer, calls)))
    assert names == list("01243")
    assert threading.active_count() == before


@pytest.mark.parametrize("calls", [1, 2])
def test_interrupted_it_begins_nothing_more(sources, localizer, calls):
    seen = []
    localizer.meet = seen.append
    before = threading.active_count()
    results = stream(sources, localizer, calls, batch_size=1)
    next(results)
    with pytest.raises(KeyboardInterrupt):
        results.throw(KeyboardInterrupt)
    assert len(seen) <= 1 + 2 + calls + 1  # yielded, taken to be written, running or queued
    assert threading.active_count() == before
