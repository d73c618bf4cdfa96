from types import SimpleNamespace

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from PIL import Image, ImageDraw, features

from fcam_tf import fonts
from fcam_tf.fonts import Line, runs

OWN = fonts._OWN


def make_font(path, characters):
    """A font whose glyphs are squares of 1000 of 1000 units, 200 of them below the base line."""
    pen = TTGlyphPen(None)
    pen.moveTo((0, -200))
    for corner in ((0, 800), (1000, 800), (1000, -200)):
        pen.lineTo(corner)
    pen.closePath()
    names = [".notdef", *(f"g{ord(c):x}" for c in characters)]
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap({ord(c): f"g{ord(c):x}" for c in characters})
    builder.setupGlyf(dict.fromkeys(names, pen.glyph()))
    builder.setupHorizontalMetrics(dict.fromkeys(names, (1000, 0)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": path.stem, "styleName": "Bold"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(path)
    return str(path)


@pytest.fixture
def system(tmp_path, monkeypatch):
    """Sets the fonts of the system: each of a name and its characters."""

    def clear():
        for cached in (fonts._others, fonts._fonts_of, fonts._codes, fonts._has, fonts._font):
            cached.cache_clear()

    def with_fonts(**wanted):
        files = [make_font(tmp_path / f"{name}.ttf", each) for name, each in wanted.items()]
        entries = [
            SimpleNamespace(fname=f, name=n.replace("_", " "), style="normal", weight=700)
            for f, n in zip(files, wanted, strict=True)
        ]
        manager = SimpleNamespace(ttflist=entries)
        monkeypatch.setattr(fonts.font_manager, "fontManager", manager)
        monkeypatch.setattr(fonts.font_manager, "findSystemFonts", list)
        clear()
        return files

    yield with_fonts
    clear()


def test_what_our_font_has_needs_no_other(monkeypatch):
    monkeypatch.setattr(fonts, "_others", lambda: pytest.fail("asks for other fonts"))
    assert runs("größe, кошка 87%") == [(OWN, "größe, кошка 87%")]
    assert runs("") == []


def test_runs_of_other_fonts(system):
    (cjk,) = system(cjk="猫犬 ")
    assert runs("a 猫犬 b") == [(OWN, "a "), (cjk, "猫犬 "), (OWN, "b")]
    assert runs("猫, x") == [(cjk, "猫"), (OWN, ", x")]


def test_the_font_that_has_the_most_is_taken(system):
    _, large, other = system(a="猫", b="猫犬", c="鳥")
    assert runs("猫犬鳥") == [(large, "猫犬"), (other, "鳥")]


def test_what_no_font_has_is_its_number(system):
    (cjk,) = system(cjk="猫")
    assert runs("a犬b") == [(OWN, "a U+72AC b")]
    assert runs("犬鳥 x") == [(OWN, "U+72AC U+9CE5 x")]
    assert runs("猫\U00020000") == [(cjk, "猫"), (OWN, " U+20000")]
    assert runs("\udce9") == [(OWN, "U+DCE9")]  # of a name that is not UTF-8


def test_placeholders_are_no_fonts(system):
    system(Last_Resort_High_Efficiency="猫", Adobe_Blank="猫")
    assert runs("猫") == [(OWN, "U+732B")]


def test_a_damaged_font_is_passed_over(system, tmp_path):
    broken, good = system(a="猫犬", b="猫")
    (tmp_path / "a.ttf").write_bytes(b"no font")
    assert runs("猫犬") == [(good, "猫"), (OWN, " U+72AC")]
    assert broken not in dict(runs("猫犬"))


def test_a_font_that_was_installed_later(system, tmp_path, monkeypatch):
    system(a="x")
    later = make_font(tmp_path / "later.ttf", "猫")
    monkeypatch.setattr(fonts.font_manager, "findSystemFonts", lambda: [later, "gone.ttf"])
    assert runs("猫") == [(later, "猫")]


def test_what_is_not_seen(system):
    (cjk,) = system(cjk="猫")
    assert runs("猫\ufe0f") == [(cjk, "猫")]  # a variation selector
    assert runs("a\nb\tc\x00d") == [(OWN, "a b c d")]


def test_a_mark_stays_with_its_letter(system):
    (thai,) = system(thai="กิ์")
    assert runs("กิ์") == [(thai, "กิ์")]
    with_accent = "e\u0301"
    assert runs(with_accent) == [(OWN, with_accent)]


def test_lengths_and_heights(system):
    system(cjk="猫")
    plain, line = Line(20, "ab"), Line(20, "ab猫")
    assert line.length == plain.length + 20
    assert (line.ascent, line.descent) == (plain.ascent, plain.descent)
    picture = Image.new("L", (100, 60))
    line.draw(ImageDraw.Draw(picture), 10, 30, (255,))
    square = np.asarray(picture)[:, 10 + round(plain.length) :]
    rows, columns = np.nonzero(square > 128)
    assert (rows.min(), rows.max() + 1) == (14, 34)  # on one base line: 16 above it, 4 below
    assert np.ptp(columns) + 1 == pytest.approx(20, abs=1)


@pytest.mark.skipif(not features.check("raqm"), reason="Pillow has no raqm")
def test_right_to_left_and_its_score():
    """The first letter stands rightmost, and the score after all, as it is laid out apart."""

    def drawn(*parts):
        picture = Image.new("L", (200, 40))
        Line(20, *parts).draw(ImageDraw.Draw(picture), 0, 30, (255,))
        return np.asarray(picture)

    hebrew = "א" + "ב" * 3
    letter, whole = Line(20, "א"), Line(20, hebrew)
    first = drawn(hebrew)[:, round(whole.length - letter.length) : round(whole.length)]
    assert np.abs(first - drawn("א")[:, : first.shape[1]].astype(int)).mean() < 20
    with_score = drawn(hebrew, " 87%")
    np.testing.assert_array_equal(
        with_score[:, : int(whole.length)], drawn(hebrew)[:, : int(whole.length)]
    )
