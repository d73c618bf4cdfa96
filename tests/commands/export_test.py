import pytest

from fcam_tf import cli


@pytest.fixture
def never_loaded(tmp_path, monkeypatch):
    def load(_):
        pytest.fail("the model is loaded")

    monkeypatch.setattr("fcam_tf.zoo.load", load)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("folder", "folder exists; give a new folder or remove it"),
        ("file", "file exists; give a new folder or remove it"),
        ("folder.onnx", "folder.onnx is a folder; give the name of a file"),
        ("file/1/2", "file is a file, and file/1/2 needs a folder there"),
        ("file/a.tflite", "file is a file, and file/a.tflite needs a folder there"),
        ("file --layout=triton", "file is a file, and file needs a folder there"),
        (".onnx", ".onnx is only an ending; give a name, such as model.onnx"),
        ("a.pb", "a.pb has an ending of no known format"),
    ],
)
def test_targets_that_cannot_be_written(never_loaded, path, words, capfd):
    (never_loaded / "file").touch()
    for name in ("folder", "folder.onnx"):
        (never_loaded / name).mkdir()
    command = ["fcam", "export", "efficientnetlite_b0_cam", *path.split()]
    assert cli.run(command) == 2
    assert words in capfd.readouterr().err


@pytest.mark.usefixtures("never_loaded")
def test_an_empty_target(capfd):
    assert cli.run(["fcam", "export", "efficientnetlite_b0_cam", ""]) == 2
    assert "PATH is empty; give a folder" in capfd.readouterr().err
