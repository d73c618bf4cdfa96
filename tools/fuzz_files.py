"""Targets of fuzz.py: files that are read without TensorFlow."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
from fuzz_engine import FaultError, Target
from PIL import Image

from fcam_tf import photos
from fcam_tf.claim import FolderBusyError, SettingsChangedError, claim, read_settings
from fcam_tf.data.check import check_dataset
from fcam_tf.data.folder import describe, load_folder
from fcam_tf.data.wsol import METADATA, load_wsol, reduced
from fcam_tf.models.torch_file import load_tensors
from fcam_tf.photos import PhotoError
from fcam_tf.predict.annotations import DATASETS, TABLES, write_annotations
from fcam_tf.predict.archives import unpack
from fcam_tf.predict.gallery import write_gallery
from fcam_tf.predict.inputs import find_photos
from fcam_tf.zoo.cards import read_card

ROOT = Path(__file__).resolve().parents[1]
_PIXELS = 4_000_000  # a bound that memory is seen to keep
_SPLITTER = b"\n---\n"
_ENTRIES = 64  # of a folder or an archive


def each_alone(read: Callable[[], Any]) -> None:
    """Run a reader that others follow, though it may refuse what it reads."""
    with contextlib.suppress(ValueError, OSError):
        read()


def _photo(data: bytes, place: Path) -> None:
    """Read a photo in each way; memory must not run out below the bound of pixels."""
    photos.MAX_PIXELS = _PIXELS
    path = place / "photo"
    path.write_bytes(data)
    readers: list[Callable[[], Any]] = [
        lambda: photos.read_photo(path, (32, 32)),
        lambda: photos.read_pixels(path, upright=False, most=10_000),
        lambda: photos.read_mask(path),
        lambda: photos.read_header(path),
        lambda: photos.read_size(path),
    ]
    refused = None
    for read in readers:
        try:
            read()
        except PhotoError as error:
            refused = error
            if "not enough memory" in str(error) or "\n" in str(error):
                raise FaultError(str(error)) from error
    if refused:
        raise refused


def _seed_photos() -> list[bytes]:
    rng = np.random.default_rng(0)
    rgb = Image.fromarray(rng.integers(0, 256, (6, 8, 3), np.uint8))
    deep = Image.fromarray(rng.integers(0, 2**16, (6, 8)).astype(np.uint16))
    exif = Image.Exif()
    exif[0x112] = 6
    kinds: list[tuple[Image.Image, str, dict[str, Any]]] = [
        *((rgb, kind, {}) for kind in ("BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TGA")),
        *((rgb, kind, {}) for kind in ("TIFF", "WEBP", "AVIF")),
        (rgb, "JPEG", {"progressive": True, "exif": exif}),
        (rgb.convert("CMYK"), "JPEG", {}),
        (rgb.convert("RGBA"), "PNG", {"exif": exif}),
        (rgb.convert("P"), "PNG", {"transparency": 3}),
        (deep, "PNG", {"transparency": 7}),
        (deep, "TIFF", {"compression": "tiff_lzw"}),
        (rgb, "TIFF", {"compression": "tiff_adobe_deflate"}),
        (rgb, "TIFF", {"compression": "jpeg"}),
        (rgb.convert("F"), "TIFF", {}),
        (rgb, "GIF", {"save_all": True, "append_images": [rgb.rotate(90, expand=True)]}),
        (rgb, "MPO", {"save_all": True, "append_images": [rgb]}),
        (rgb.convert("1"), "BMP", {}),
    ]
    pillow_heif.register_heif_opener()
    found = []
    for image, kind, options in [*kinds, (rgb.resize((64, 64)), "HEIF", {})]:
        file = io.BytesIO()
        image.save(file, kind, **options)
        found.append(file.getvalue())
    return found


def _metadata(data: bytes, place: Path) -> None:
    """Read a data set in the benchmark's layout, its files parted by a line of three dashes."""
    folder = place / "metadata" / "train"
    folder.mkdir(parents=True)
    names = [*(folder / f"{name}.txt" for name in METADATA), place / "class_names.txt"]
    for file, text in zip([*names, folder / "image_ids_proxy.txt"], data.split(_SPLITTER)):  # noqa: B905
        file.write_bytes(text)
    each_alone(lambda: str(check_dataset(place)))
    split = load_wsol(place, "train")
    split.drawn(2)
    each_alone(lambda: reduced(place, split))
    each_alone(lambda: split.read_object(0))


def _seed_metadata() -> list[bytes]:
    ids, labels = "a.jpg\nb/c.jpg", "a.jpg,0\nb/c.jpg,1"
    sizes, boxes = "a.jpg,9,8\nb/c.jpg,7,6", "a.jpg,0,0,3.0,4\nb/c.jpg,1,1,2,2"
    masks = "a.jpg,m.png,i.png\nb/c.jpg,n.png,"
    others = ["cat\ndog", "a.jpg"]
    return [
        _SPLITTER.decode().join([ids, labels, *each, *others]).encode()
        for each in ([sizes, boxes, masks], ["", "", masks], [sizes, boxes, ""])
    ]


def _folders(data: bytes, place: Path) -> None:
    """Read class folders, of names that are the lines of the input."""
    for line in data.split(b"\n")[:_ENTRIES]:
        name = line.replace(b"\0", b"")
        path = place / os.fsdecode(name).lstrip("/")
        if (
            not name.strip(b"/.")
            or b".." in name
            or any(len(part) > 200 for part in name.split(b"/"))
        ):
            continue
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.mkdir() if name.endswith(b"/") else path.touch()
        except OSError:  # a file where a folder was meant
            continue
    for split in (None, "val", "train"):
        each_alone(lambda split=split: load_folder(place, split))
    find_photos([place, f"{place}/**", f"{place}/[a-"], ["*.jpg"])
    each_alone(lambda: check_dataset(place))
    describe(place)


def _seed_folders() -> list[bytes]:
    flat = b"cat/a.jpg\ncat/b.png\ndog/sub/c.jpg\ndog/notes.txt\nempty/\n.hidden/d.jpg"
    lines = b"train/cat/a.jpg\ntrain/dog/b.jpg\nval/cat/c.jpg\nTest/dog/d.jpg\nval/x\xe9/e.jpg"
    return [flat, lines]


def _card(data: bytes, place: Path) -> None:
    folder = place / "resnet50_layercam"
    folder.mkdir()
    (folder / "card.json").write_bytes(data)
    read_card(folder / "card.json")


def _seed_cards() -> list[bytes]:
    cards = [path.read_bytes() for path in sorted(ROOT.glob("zoo/*/card.json"))]
    named = [json.loads(card) | {"name": "resnet50_layercam"} for card in cards]
    return [*(json.dumps(card).encode() for card in named), b"{}"]


def _archive(data: bytes, place: Path) -> None:
    """Unpack an archive; its first byte says by which name."""
    endings = (".zip", ".tar", ".tar.gz", ".tar.bz2", ".tar.xz")
    path, folder = place / f"a{endings[data[0] % 5 if data else 0]}", place / "to"
    folder.mkdir()
    path.write_bytes(data[1:])
    unpack(path, folder)


def _seed_archives() -> list[bytes]:
    found = []
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/b.jpg", b"photo" * 9)
        archive.writestr("../c.png", b"")
    found.append(b"\0" + file.getvalue())
    for index, mode in enumerate(("w", "w:gz", "w:bz2", "w:xz"), start=1):
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode=mode) as archive:  # type: ignore[call-overload]
            for name in ("a/b.jpg", "/c.jpg", "n" * 120 + ".jpg"):
                entry = tarfile.TarInfo(name)
                entry.size = 5
                archive.addfile(entry, io.BytesIO(b"photo"))
        found.append(bytes([index]) + file.getvalue())
    return found


def _members(data: bytes, place: Path) -> None:
    """Unpack a well-formed archive whose members' kinds, names and sizes are hostile.

    A line is a member: its first byte the kind, then its name, a tab, and its content or target.
    """
    folder, tar = place / "to", data[:1] > b"\x7f"
    folder.mkdir()
    path = place / ("a.tar" if tar else "a.zip")
    archive: Any = tarfile.open(path, "w") if tar else zipfile.ZipFile(path, "w", 8)  # noqa: SIM115
    with archive:
        for line in data[1:].split(b"\n")[:_ENTRIES]:
            name, _, content = line[1:].partition(b"\t")
            kind = line[0] % 9 if line else 0
            try:
                if tar:
                    entry = tarfile.TarInfo(os.fsdecode(name))
                    entry.type, entry.linkname = b"012345670"[kind : kind + 1], os.fsdecode(content)
                    entry.size = len(content)
                    archive.addfile(entry, io.BytesIO(content))
                else:
                    repeated = content * (4000 if kind == 8 else 1)
                    archive.writestr(name.decode("latin-1"), repeated)
            except (ValueError, IndexError):  # what cannot be written
                continue
    unpack(path, folder)
    if any(
        each.is_symlink() or not (each.is_file() or each.is_dir()) for each in folder.rglob("*")
    ):
        raise FaultError("there is more than files and folders")


def _seed_members() -> list[bytes]:
    lines = [
        b"0a/b.jpg\tphoto",
        b"0../../c.jpg\tphoto",
        b"0/etc/d.jpg\tphoto",
        b"2link.jpg\t/etc/passwd",
        b"1hard.jpg\t../x.jpg",
        b"0C:\\e.jpg\tphoto",
        b"0a\tfile",
        b"0a/b.jpg/c.jpg\tphoto",
        b"8bomb.png\t" + b"\0" * 50,
    ]
    return [first + b"\n".join(lines) for first in (b"\0", b"\xff")]


def _results(data: bytes, place: Path) -> None:
    """Make data sets, tables and a page of a damaged results.jsonl."""
    lines, *settings = data.split(_SPLITTER)
    (place / "results.jsonl").write_bytes(lines)
    (place / "settings.json").write_bytes(b"".join(settings))
    forms = [*DATASETS, *TABLES, "page"]
    form = forms[len(data) % len(forms)]
    if form == "page":
        write_gallery(place)
    elif form in TABLES:
        write_annotations(place, (), [form])
    else:
        write_annotations(place, [form])


def _seed_results() -> list[bytes]:
    rle = {"size": [8, 10], "counts": "0a0"}
    entry: dict[str, Any] = {"label": 7, "label_name": "cat", "score": 0.75, "box": [1, 2, 5, 6]}
    entry |= {"area": 0.1, "heat": 0.5, "threshold": 0.4, "overlay": "a_overlay.png"}
    entry |= {"heatmap": None, "mask": "m.png", "rle": rle}
    record = {"file": "/p/a.jpg", "name": "a", **entry, "width": 10, "height": 8}
    record |= {"objects": [entry, {**entry, "box": None}], "bytes": 1, "modified": 1.5}
    line = json.dumps(record).encode()
    settings = {"settings": {"method": "cam", "options": {"flip": True}}, "model": "net"}
    settings["made_with"] = {"method": "cam", "threshold": "otsu"}
    parts = line + _SPLITTER + json.dumps(settings).encode()
    return [
        line,
        parts,
        parts + b" ",
        parts + b"  ",
        line + b"\n" + line.replace(b"cat", b"dog") + b"\n{torn",
    ]


def _torch(data: bytes, place: Path) -> None:
    (place / "weights.pth").write_bytes(data)
    load_tensors(place / "weights.pth")


def _seed_torch() -> list[bytes]:
    numbers = [pickle.dumps(each, 2) for each in (0x1950A86A20F9469CFC6C, 1001, {"little": True})]
    # {"a": torch._utils._rebuild_tensor_v2(storage of 4 floats "k", 0, (2, 2), (2, 1), False, {})}
    state = (
        b"\x80\x02}X\x01\0\0\0actorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storage"
        b"ctorch\nFloatStorage\nX\x01\0\0\0kX\x03\0\0\0cpuK\x04NtQK\x00K\x02K\x02\x86K\x02K\x01"
        b"\x86\x89}tRs."
    )
    values = b"\x04" + b"\0" * 7 + np.arange(4, dtype="<f4").tobytes()
    return [b"".join(numbers) + state + pickle.dumps(["k"], 2) + values]


def _claimed(data: bytes, place: Path) -> None:
    """Claim a folder whose settings are damaged."""
    (place / "settings.json").write_bytes(data)
    (place / "results.jsonl").write_bytes(b"{}")
    read_settings(place / "settings.json")
    with claim(place, {"method": "cam", "top": 2}, ["results.jsonl"], remedy="mend it"):
        pass


def _seed_claimed() -> list[bytes]:
    settings = {"method": "cam", "top": 2}
    return [json.dumps(each).encode() for each in ({"settings": settings, "model": "a"}, settings)]


def _npy(data: bytes, place: Path) -> None:
    """Read a stored map as evaluations do; zeros follow, as a map is longer than an input."""
    from fcam_tf.evaluation.sources import StoredMaps  # noqa: PLC0415

    (place / "a.npy").write_bytes(data + bytes(224 * 224 * 8))
    StoredMaps(place, ["a.jpg"])(["a.jpg"], None, None)


def _seed_npy() -> list[bytes]:
    found = []
    for array in (
        *(np.zeros((224, 224), kind) for kind in ("<f2", ">f8", "?")),
        *(np.zeros((4, 4)), np.array([{}], object), np.zeros((0, 224))),
    ):
        file = io.BytesIO()
        np.save(file, array)
        found.append(file.getvalue()[:256])
    found.append(found[3].replace(b"(4, 4), }     ", b"(4, 99999999)}"))
    return found


_FILE = (ValueError, OSError)
TARGETS = {
    "photo": Target(_photo, (PhotoError,), _seed_photos),
    "metadata": Target(_metadata, _FILE, _seed_metadata, named=True),
    "folders": Target(_folders, _FILE, _seed_folders, named=True),
    "card": Target(_card, _FILE, _seed_cards, named=True),
    "archive": Target(_archive, _FILE, _seed_archives),  # bring_in puts its name before
    "members": Target(_members, _FILE, _seed_members),
    "results": Target(_results, _FILE, _seed_results, named=True),
    "torch": Target(_torch, _FILE, _seed_torch, named=True),
    "claimed": Target(
        _claimed, (SettingsChangedError, FolderBusyError, OSError), _seed_claimed, named=True
    ),
    "npy": Target(_npy, _FILE, _seed_npy, named=True),
}
