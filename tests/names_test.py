import os
from pathlib import Path

import pytest

from fcam_tf import baselines, cams, models, names
from fcam_tf.names import error_text, listed, lookup, parsed, percent, printable, told

TABLE = {"resnet50": 1, "vgg16": 2}


def test_names_without_tensorflow_are_the_ones_there_are():
    assert tuple(models.BACKBONES) == names.BACKBONES
    assert tuple(cams.METHODS) == names.METHODS
    assert tuple(baselines.METHODS) == names.BASELINES


def test_finds():
    assert lookup(TABLE, "vgg16", "backbone") == 2


@pytest.mark.parametrize("name", ["resnet5", "bottle", None, 7, ["vgg16"]])
def test_unknown_names_are_told_with_all_that_there_is(name):
    with pytest.raises(ValueError, match=r"`backbone` is unknown.*Available: resnet50, vgg16") as e:
        lookup(TABLE, name, "backbone")
    assert ("Did you mean 'resnet50'" in str(e.value)) == (name == "resnet5")


def test_of_many_names_a_few_are_told():
    table = dict.fromkeys(f"class {i}" for i in range(1000))
    with pytest.raises(ValueError, match=r"mean 'class 99' .* class 19 and 980 more[.]$"):
        lookup(table, "class 9x9", "label")


def test_what_was_cut_short_is_completed_in_the_table_s_order():
    table = dict.fromkeys(["resnet50_layercam", "resnet50_cam", "resnet50_spg", "resnet18"])
    with pytest.raises(ValueError, match="mean 'resnet50_layercam' or 'resnet50_cam'"):
        lookup(table, "resnet50", "model")
    del table["resnet18"]
    with pytest.raises(ValueError, match="mean 'resnet50_layercam'"):  # a slip, and cut short
        lookup(table, "resnet51", "model")


def test_the_first_of_many_are_listed():
    assert listed([]) == ""
    assert listed(range(5)) == "0, 1, 2, 3, 4"
    assert listed(iter("abcd"), 2) == "a, b and 2 more"
    assert listed([Path("a\nb")]) == r"a\nb"


def test_any_name_of_a_file_is_one_printable_line():
    assert printable("größe 猫.jpg") == "größe 猫.jpg"
    assert printable(os.fsdecode(b"caf\xe9\n\t.jpg")) == r"caf\udce9\n\t.jpg"


def test_options_are_told():
    options = {"scales": [1.0, 1.5], "flip": True, "relu": False, "grid": [6, 4], "output": "age"}
    want = ["scales 1,1.5", "flip", "relu False", "grid 6,4", "output age"]
    assert told(options) == want
    assert told({}) == []


@pytest.mark.parametrize(
    "text",
    [
        "{{function_node __wrapped__MatMul_/job:localhost/CPU:0}} no memory [Op:MatMul] name: ",
        "{{function_node __inference_f_6}} no memory\n\t [[{{node MatMul}}]] [Op:__inference_f_6]",
        "no memory",
    ],
)
def test_errors_of_tensorflow_without_their_nodes(text):
    assert error_text(RuntimeError(text)) == "no memory"


def test_percent():
    shown = [percent(p) for p in (0, 0.001, 0.0049, 0.0051, 0.014, 0.794, 1)]
    assert shown == ["0%", "<1%", "<1%", "1%", "1%", "79%", "100%"]


def test_what_is_not_json_is_text():
    assert [parsed(text) for text in ("1e-3", "[1, 2]", "P4,P5")] == [0.001, [1, 2], "P4,P5"]
    for text in ("1" * 5000, "[" * 100_000):  # beyond what Python's reader takes
        assert parsed(text) == text
