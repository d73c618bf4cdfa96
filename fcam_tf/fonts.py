"""Fonts that have the characters of a text: matplotlib's own, and where it lacks some, others."""

from __future__ import annotations

import contextlib
import functools
import itertools
import re
import unicodedata
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib import font_manager
from matplotlib.ft2font import FT2Font
from PIL import ImageDraw, ImageFont

_OWN = str(Path(mpl.get_data_path(), "fonts", "ttf", "DejaVuSans-Bold.ttf"))
_FAMILY = "DejaVu Sans"  # of it, and what figures are in
_BOLD = 700
# Fonts that have a picture for everything, such as matplotlib's LastResortHE.
_PLACEHOLDERS = ("last resort", "lastresort", "blank")
_SIZE = 20  # at which a font is tried


class Line:
    """A line of text, in as many fonts as it takes.

    Where Pillow has raqm, it is shaped, and what is written from right to left runs so.

    Args:
        size: in pixels.
        *parts: of the text, each of which is laid out by itself; see `runs`.

    Attributes:
        length: in pixels.
        ascent: the most that is drawn above the base line; at least that of the own font.
        descent: the most below it; at least that of the own font.
    """

    def __init__(self, size: int, *parts: str) -> None:
        self._runs = [(_font(file, size), piece) for part in parts for file, piece in runs(part)]
        boxes = [font.getbbox(piece, anchor="ls") for font, piece in self._runs]
        ascent, descent = _font(_OWN, size).getmetrics()
        self.length = sum(font.getlength(piece) for font, piece in self._runs)
        self.ascent = max([ascent, *(-int(box[1]) for box in boxes)])
        self.descent = max([descent, *(int(box[3]) for box in boxes)])

    def draw(self, on: ImageDraw.ImageDraw, x: float, y: float, colour: tuple[int, ...]) -> None:
        """Draw it from the left end of its base line on."""
        for font, piece in self._runs:
            on.text((x, y), piece, font=font, fill=colour, anchor="ls")
            x += font.getlength(piece)


def runs(text: str) -> list[tuple[str, str]]:
    """Divide a line of text into runs of one font each.

    A character that no font has becomes its number, such as U+732B, and a control character a
    space. What is invisible by itself, such as a variation selector, goes unless the font of its
    run has it.

    Args:
        text: any text.

    Returns:
        Font files, and what each draws, in the order of the text.
    """
    text = "".join(" " if unicodedata.category(c) == "Cc" else c for c in text)
    others = _fonts_of(frozenset(c for c in text if not (_has(_OWN, c) or _is_invisible(c))))
    text = _with_numbers(text, (_OWN, *others))
    pieces: list[tuple[str, str]] = []
    for character in text:
        before = pieces[-1][0] if pieces else _OWN
        if _is_invisible(character):
            pieces += [(before, character)] * _has(before, character)
            continue
        # Marks, spaces and such stay with what they follow: shaping does not reach across runs.
        first = before if unicodedata.category(character)[0] in "MZP" else _OWN
        font = next(file for file in (first, _OWN, *others) if _has(file, character))
        pieces.append((font, character))
    grouped = itertools.groupby(pieces, lambda piece: piece[0])
    return [(font, "".join(part for _, part in group)) for font, group in grouped]


def for_figures(text: str) -> tuple[str, list[str]]:
    """Return a text as matplotlib can draw it, and the families of fonts that it takes.

    Characters that no font has are numbers, as in `runs`.
    """
    pieces = runs(text)
    families = [_FAMILY]
    for file in dict.fromkeys(file for file, _ in pieces if file != _OWN):
        if all(entry.fname != file for entry in font_manager.fontManager.ttflist):
            font_manager.fontManager.addfont(file)
        families.append(font_manager.FontProperties(fname=file).get_name())
    return "".join(piece for _, piece in pieces), families


def _with_numbers(text: str, fonts: tuple[str, ...]) -> str:
    def lacks(character: str) -> bool:
        return not _is_invisible(character) and not any(_has(file, character) for file in fonts)

    parts = [
        " ".join(f"U+{ord(c):04X}" for c in group) if lacking else "".join(group)
        for lacking, group in itertools.groupby(text, lacks)
    ]
    return re.sub(" {2,}", " ", " ".join(parts))


def _is_invisible(character: str) -> bool:
    selector = "VARIATION SELECTOR" in unicodedata.name(character, "")
    return selector or unicodedata.category(character) == "Cf"


@functools.cache
def _fonts_of(characters: frozenset[str]) -> tuple[str, ...]:
    """Return few fonts that have these characters, as far as there are any.

    Each has the most of what those before it lack; on ties it is the one most like ours.
    """
    chosen: list[str] = []
    lacking = np.array(sorted(map(ord, characters)), np.uint32)
    while lacking.size:
        counts = [(np.isin(lacking, _codes(file)).sum(), file) for file in _others()]
        count, best = max(counts, key=lambda each: each[0], default=(0, ""))
        if not count:
            break
        chosen.append(best)
        lacking = lacking[~np.isin(lacking, _codes(best))]
    return tuple(chosen)


@functools.cache
def _others() -> tuple[str, ...]:
    """Return the fonts of the system, the most like ours first: bold, upright, without serifs."""

    def unlike(entry: font_manager.FontEntry) -> tuple[object, ...]:
        weight = entry.weight if isinstance(entry.weight, int) else 400  # else a word
        odd = any(word in entry.name for word in ("Mono", "Serif", "Condensed", "Narrow"))
        return (odd, entry.style != "normal", abs(weight - _BOLD), entry.name, entry.fname)

    entries = list(font_manager.fontManager.ttflist)
    # Matplotlib keeps its list for good: fonts that were installed later are not in it.
    later = set(font_manager.findSystemFonts()) - {entry.fname for entry in entries}
    for file in sorted(later):
        with contextlib.suppress(OSError, RuntimeError, ValueError):
            entries.append(font_manager.ttfFontProperty(FT2Font(file)))
    entries.sort(key=unlike)
    names = {entry.fname: entry.name.lower() for entry in reversed(entries)}
    return tuple(
        file
        for file in dict.fromkeys(entry.fname for entry in entries)
        if not any(word in names[file] for word in _PLACEHOLDERS)
    )


@functools.cache
def _codes(file: str) -> np.ndarray:
    """Return the code points that a font file has; none where Pillow cannot draw with it."""
    try:
        _font(file, _SIZE)  # refuses one that has pictures of one size only
        return np.array(sorted(FT2Font(file).get_charmap()), np.uint32)
    except (OSError, RuntimeError):
        return np.array([], np.uint32)


@functools.cache
def _has(file: str, character: str) -> bool:
    return bool(np.isin(ord(character), _codes(file)))


@functools.lru_cache(maxsize=64)
def _font(file: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(file, size)
