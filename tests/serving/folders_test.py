from fcam_tf.serving.folders import saved_model_folder


def test_the_last_version_is_served(tmp_path):
    assert saved_model_folder(str(tmp_path)) is None
    assert saved_model_folder("x" * 5000) is None
    for name in ("2", "10", "11", "new"):
        (tmp_path / name).mkdir()
        if name != "11":
            (tmp_path / name / "saved_model.pb").touch()
    assert saved_model_folder(str(tmp_path)) == tmp_path / "10"
    assert saved_model_folder(str(tmp_path / "2")) == tmp_path / "2"
