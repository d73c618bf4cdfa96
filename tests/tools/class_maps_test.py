import types

import numpy as np

from fcam_tf import data, zoo

SIDE, OBJECT = 256, slice(64, 192)
COLOURS = {281: 0, 282: 1, 151: 2}  # channel of the photos that are taken for a class of ImageNet


class Split:
    """A red and a green cat and a blue dog, squares in the middle of black photos."""

    labels = np.array([0, 1, 2])

    def __len__(self):
        return 3

    def read_pixels(self, index):
        pixels = np.zeros((SIDE, SIDE, 3), np.uint8)
        pixels[OBJECT, OBJECT, index] = 255
        return pixels

    def read_object(self, index):
        return (self.read_pixels(index)[..., index] > 0).astype(np.uint8)


def predict(images, _batch, _verbose):
    logits = np.zeros((len(images), 1000))
    for label, channel in COLOURS.items():
        logits[:, label] = images[..., channel].mean((1, 2))
    return logits


def ways(_model, pixels, labels):
    """All animals, and the one that is asked for."""
    channels = [COLOURS[label] for label in labels]
    own = np.stack([each[..., c] > 127 for each, c in zip(pixels, channels, strict=True)])
    return {"all": (1.0 * (pixels.max(-1) > 127), 0.5), "own": (1.0 * own, 0.5)}


def scores(shown, kind):
    """Return the numbers of a kind's table, by the name of its row."""
    lines = shown.partition(f"{kind}: ")[2].splitlines()
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines if "│" in line]
    return {name: [float(cell) for cell in cells] for name, *cells in rows[:2]}


def test_maps_of_all_animals_and_of_one(tool, monkeypatch):
    monkeypatch.setattr(data, "load_wsol", lambda *_: Split())
    model = types.SimpleNamespace(classifier=types.SimpleNamespace(predict=predict))
    monkeypatch.setattr(zoo, "load", lambda _: model)
    shown = tool("class_maps", _ways=ways)
    assert scores(shown, "one animal") == {"all": [100.0] * 4, "own": [100.0] * 4}
    for kind in ("cat and dog, side by side", "two cats, side by side"):
        found = scores(shown, kind)
        assert found["own"] == [100.0] * 4
        # Half of the pixels are the other's; of two equal regions the first counts, which is the
        # one asked for in half of the requests.
        assert found["all"] == [50.0, 100.0, 50.0, 50.0]
    assert "pasted" not in shown  # too much of the first would be hidden
