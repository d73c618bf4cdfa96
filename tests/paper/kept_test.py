import pytest

from fcam_tf.paper.kept import Kept
from fcam_tf.paper.runtime import Timing

ROW = Timing("cam", "CAM", 1.5, 2.5, 7, estimated=False)


@pytest.fixture
def file(tmp_path):
    return tmp_path / "unfinished.jsonl"


def test_what_was_added_is_there_after_a_stop(file):
    kept = Kept(file, {"rounds": 7})
    assert kept.of("vgg16") == []
    kept.add("vgg16", ROW, "")
    kept.add("vgg16", ROW._replace(name="CAM, torch-cam", map_ms=None), "")
    kept.add("resnet50", ROW, "")
    again = Kept(file, {"rounds": 7})
    assert again.of("vgg16") == [ROW, ROW._replace(name="CAM, torch-cam", map_ms=None)]
    assert again.of("resnet50") == [ROW]
    assert again.busy == ""
    again.finish()
    assert not file.exists()
    again.finish()


def test_other_settings_do_not_count_and_are_not_lost(file):
    Kept(file, {"rounds": 3}).add("vgg16", ROW, "while other work ran")
    kept = Kept(file, {"rounds": 7})
    assert kept.of("vgg16") == []
    assert kept.busy == ""
    kept.add("vgg16", ROW, "")
    kept.finish()
    before = Kept(file, {"rounds": 3})
    assert before.of("vgg16") == [ROW]
    assert before.busy == "while other work ran"


@pytest.mark.parametrize("damage", ["{", "[]", '{"timing": {}}', '{"timing": 3, "settings": {}}'])
def test_a_damaged_line_is_measured_again(file, damage):
    Kept(file, {}).add("vgg16", ROW, "")
    file.write_text(file.read_text() + damage)
    assert Kept(file, {}).of("vgg16") == [ROW]
