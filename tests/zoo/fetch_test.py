import hashlib
import shutil

import pytest

from fcam_tf import zoo
from fcam_tf.zoo.fetch import find_weights
from tests.zoo.conftest import NAME, cached


def test_the_user_s_zoo_comes_first(card, own, tmp_path):
    assert find_weights(card, tmp_path) == own / NAME / "weights.safetensors"


def test_then_the_entry_s_own_folder(card, own, monkeypatch):
    monkeypatch.delenv("FCAM_ZOO")
    assert find_weights(card, own / NAME) == own / NAME / "weights.safetensors"


def test_an_address_comes_before_the_entry_s_own_folder(card, elsewhere, tmp_path):
    (tmp_path / "weights.safetensors").write_bytes(b"other")
    assert cached(tmp_path) == []
    assert find_weights(card, tmp_path) == cached(tmp_path)[0]
    shutil.copy(cached(tmp_path)[0], tmp_path / "weights.safetensors")
    cached(tmp_path)[0].unlink()
    (elsewhere / NAME / "weights.safetensors").unlink()
    assert find_weights(card, tmp_path) == tmp_path / "weights.safetensors"


def test_an_address_fills_the_cache(card, elsewhere, tmp_path):
    found = find_weights(card, tmp_path)
    assert cached(tmp_path) == [found]
    assert found.read_bytes() == (elsewhere / NAME / "weights.safetensors").read_bytes()
    (elsewhere / NAME / "weights.safetensors").unlink()
    assert find_weights(card, tmp_path) == found


def test_the_card_s_addresses_are_tried_in_turn(card, elsewhere, tmp_path, monkeypatch):
    monkeypatch.delenv("FCAM_ZOO")
    good = (elsewhere / NAME / "weights.safetensors").as_uri()
    card["weights"]["addresses"] = ["file:///nowhere/at/all.h5", good]
    assert find_weights(card, tmp_path).is_file()


def test_swapped_weights_are_refused(card, own, tmp_path):
    path = own / NAME / "weights.safetensors"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(zoo.WeightsDamagedError, match="not the file that its card describes"):
        find_weights(card, tmp_path)


def test_a_file_that_is_larger_than_the_card_says_is_not_read(card, own, tmp_path, monkeypatch):
    path = own / NAME / "weights.safetensors"
    size = path.stat().st_size
    path.write_bytes(path.read_bytes() + b"\0")
    monkeypatch.setattr("fcam_tf.zoo.fetch.file_sha256", lambda _: pytest.fail("it is read"))
    with pytest.raises(zoo.WeightsDamagedError, match=f"it has {size + 1} bytes, not {size}"):
        find_weights(card, tmp_path)


def test_nowhere(card, tmp_path, monkeypatch):
    monkeypatch.setenv("FCAM_ZOO", str(tmp_path / "empty"))
    with pytest.raises(
        FileNotFoundError, match=f"cannot be found.*empty.*holds {NAME}/weights.safetensors"
    ):
        find_weights(card, tmp_path)


def test_a_place_is_named_once(card, own, monkeypatch):
    monkeypatch.setenv("FCAM_ZOO", f"{own}/")
    (own / NAME / "weights.safetensors").unlink()
    with pytest.raises(FileNotFoundError) as caught:
        find_weights(card, own / NAME)
    assert str(caught.value).count("does not exist") == 1


def pointing(card):
    return {**card, "name": "other_cam", "weights": {**card["weights"], "entry": NAME}}


def test_the_file_of_another_entry(card, own, tmp_path, monkeypatch):
    path = own / NAME / "weights.safetensors"
    assert find_weights(pointing(card), tmp_path / "other_cam") == path  # the user's zoo has it
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("FCAM_ZOO", str(tmp_path / "empty"))
    assert find_weights(pointing(card), own / "other_cam") == path  # its neighbour


def test_the_file_of_another_entry_from_an_address(card, elsewhere, tmp_path):
    found = find_weights(pointing(card), tmp_path / "other_cam")
    assert found.read_bytes() == (elsewhere / NAME / "weights.safetensors").read_bytes()
    assert find_weights(card, tmp_path) == found  # fetched once


@pytest.mark.parametrize("trained_anew", [False, True])
def test_another_entry_that_is_gone_or_was_trained_anew(card, own, tmp_path, trained_anew):
    path = own / NAME / "weights.safetensors"
    path.write_bytes(b"other") if trained_anew else path.unlink()
    reason = "not the file that the card describes" if trained_anew else "does not exist"
    message = f"are those of {NAME}, cannot be found.*{path}: {reason}"
    with pytest.raises(FileNotFoundError, match=message):
        find_weights(pointing(card), own / "other_cam")
    # Nor does it hide the right one.
    right = tmp_path / "right" / NAME / "weights.safetensors"
    right.parent.mkdir(parents=True)
    right.write_bytes(b"right")
    card["weights"] |= {"sha256": hashlib.sha256(b"right").hexdigest(), "bytes": 5}
    assert find_weights(pointing(card), tmp_path / "right" / "other_cam") == right
