from pathlib import Path

import pytest

from fcam_tf.claim import Change, SettingsChangedError
from fcam_tf.commands.changed import by_flags

A, B = "a" * 64, "b" * 64  # digests


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            Change("files.mask", ["rle"], []),
            "`mask` rle (that of --annotations coco) was given before, and is not now",
        ),
        (Change("label", [], ["cat", 3]), "`label` cat and 3 was not given before"),
        (Change("objects", 1, None), "`objects` was 1 before, and is all now"),
        (Change("min_area", 0.01, 0.0), "`min_area` was 0.01 before, and is 0 now"),
        (Change("options.scales", ..., [1.0, 1.5]), "`scales` 1,1.5 was not given before"),
        (Change("files.crops", False, True), "`crops` was not given before"),
        (Change("explanation.steps", ..., 5), "`explanation` was not given before"),
        (Change("explanation.steps", 5, ...), "`explanation` was given before, and is not now"),
        (Change("explanation.steps", 5, 7), "explanation.steps was 5 and is now 7"),
        (Change("recipe.loss.crf", 1, 2), "recipe.loss.crf was 1 and is now 2"),
        (Change("images", A, B), "`data` has other photos now, or in another order"),
        (Change("labels", A, B), "the photos of `data` have other labels now"),
        (Change("train.sha256", A, B), "`data` has other photos, labels or ground truth now"),
        (Change("data", A, B), "`data` has other photos, labels or ground truth now"),
        (
            Change("weights", "imagenet", B),
            "what `weights` names has changed",
        ),
        (Change("layer", "x" * 80, ""), f"`layer` {'x' * 67}... was given before, and is not now"),
    ],
)
def test_a_change_is_told_by_its_flag(change, told):
    error = SettingsChangedError("as a library tells it")
    error.folder, error.changes, error.remedy = Path("out"), [change], "give another folder"
    assert by_flags(error) == (
        f"out holds results made with other flags: {told}; give the same, or another folder"
    )


def test_a_switch_of_many_settings_is_told_once():
    error = SettingsChangedError("as a library tells it")
    error.folder, error.remedy = Path("out"), "give another folder"
    error.changes = [Change("explanation.a", 1, ...), Change("explanation.b", 2, ...)]
    assert by_flags(error).count("explanation") == 1
