import numpy as np
import pytest
import tensorflow as tf

from fcam_tf.data import load_wsol, training_dataset
from fcam_tf.data.parts import Parts
from fcam_tf.data.shapes import write_shapes

# Seven images in batches of four, over three devices.
PLACES = [[0, 4], [1, 5], [2, 3, 6]]
SIZES = [[1, 1], [1, 1], [2, 1]]


@pytest.mark.parametrize("device", range(3))
def test_places_of_a_device(device):
    places, sizes = Parts(range(device, device + 1), 3).places(7, 4)
    assert places.tolist() == PLACES[device]
    assert sizes == SIZES[device]


def test_places_of_a_machine_with_two_devices():
    places, sizes = Parts(range(1, 3), 3).places(7, 4)
    assert places.tolist() == [1, 2, 3, 5, 6]
    assert sizes == [1, 2, 1, 1]


def test_cuts_a_batch():
    batch = (tf.range(3), {"label": tf.range(3) * 10})
    found = [(x.numpy().tolist(), y["label"].numpy()[0]) for x, y in Parts(range(2), 2).cut(*batch)]
    assert found == [([0], 0), ([1, 2], 10)]


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    return load_wsol(
        write_shapes(tmp_path_factory.mktemp("parts") / "data", {"train": 7}, 40), "train"
    )


@pytest.mark.parametrize("augmented", [False, True])
def test_the_parts_of_all_machines_are_the_batches(split, augmented):
    def shift(images, labels, seed):  # an image becomes its neighbour's: it needs the whole batch
        return tf.roll(images, 1, 0) + tf.cast(seed[0], tf.float32), {"label": labels}

    options = {"batch_size": 4, "resize": 36, "crop": 32, "seed": 3, "first_epoch": 1}
    options["augment"] = shift if augmented else None
    whole = list(training_dataset(split, **options).take(4))  # of two epochs
    one, other = (
        list(training_dataset(split, parts=Parts(devices, 3), **options).take(4 * len(devices)))
        for devices in (range(1), range(1, 3))
    )
    for number, (images, labels) in enumerate(whole):
        parts = [one[number], *other[2 * number : 2 * number + 2]]
        np.testing.assert_array_equal(np.concatenate([x for x, _ in parts]), images)
        found = [y["label"] if augmented else y for _, y in parts]
        expected = labels["label"] if augmented else labels
        np.testing.assert_array_equal(np.concatenate(found), expected)
