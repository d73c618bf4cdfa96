"""Photos that are not local files: from standard input, addresses, archives and videos.

They are written into a folder of their own, each completely or not at all, and are then files like
any other. Those that are already there are not fetched again.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import shutil
import sys
import urllib.parse
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from fcam_tf.addresses import stream_options
from fcam_tf.atomic import new_folder, replacing, write_atomically, write_json
from fcam_tf.claim import read_settings
from fcam_tf.names import line_of, shortened
from fcam_tf.predict import video
from fcam_tf.predict.archives import MAX_BYTES, copy, inside, is_archive, numbered, unpack
from fcam_tf.predict.inputs import BROUGHT, Failure, expanded

INPUTS = "inputs"  # the folder, below that of the results
STDIN = "-"
_PROTOCOLS = ("http", "https", "gs", "gcs", "s3")


@dataclasses.dataclass
class Brought:
    """The local files that replace the arguments of a job.

    Attributes:
        arguments: files, folders and globs, in the order of the arguments that they replace.
        failures: what could not be fetched.
        origins: the original argument, by the file or folder that replaces it.
    """

    arguments: list[str] = dataclasses.field(default_factory=list)
    failures: list[Failure] = dataclasses.field(default_factory=list)
    origins: dict[Path, str] = dataclasses.field(default_factory=dict)

    def origin_of(self, photo: Path) -> str | None:
        """Return where a photo comes from, such as "holiday.zip/1/cat.jpg"; None for a file."""
        for place in (photo, *photo.parents):
            if place in self.origins:
                rest = photo.relative_to(place).parts
                return "/".join([self.origins[place].rstrip("/"), *rest])
        return None


def bring_in(
    arguments: Iterable[str | os.PathLike[str]],
    kept: Path,
    *,
    fps: float = 1.0,
    afresh: bool = False,
    tell: Callable[[str], Any] = lambda _: None,
) -> Brought:
    """Fetch all that is not a photo, folder or glob into a folder, and return what replaces it.

    Args:
        arguments: files, folders, globs; "-", a photo from standard input; addresses of photos,
            archives or videos (http, https, and with packages of their own gs and s3); archives
            (zip and tar) and videos, also those that a glob matches.
        kept: the folder, absolute; it is created if needed.
        fps: frames taken per second of video.
        afresh: whether to fetch again what is already there.
        tell: function that takes a line about each archive, address and video.

    Returns:
        What replaces them, with a failure for each argument that fails.
    """
    found, bringer = Brought(), _Bringer(kept, fps, afresh, tell)
    for given in [each for argument in arguments for each in expanded(os.fspath(argument))]:
        try:
            local = bringer.bring(given)
        except (OSError, ValueError, ImportError) as error:
            found.failures.append(Failure(given, _reason(error, given)))
            continue
        brought = local != Path(given)
        found.arguments.append(str(local) if brought else given)
        if brought:
            found.origins[local] = "standard input" if given == STDIN else given
            for name, reason in bringer.damaged(local).items():
                file = "/".join([given.rstrip("/"), *inside(name).parts])
                found.failures.append(Failure(file, reason))
    return found


def is_address(argument: str) -> bool:
    """Tell whether an argument is an address on another machine."""
    return argument.partition("://")[0].lower() in _PROTOCOLS and "://" in argument


@dataclasses.dataclass(frozen=True)
class _Bringer:
    """Brings one thing after the other; for the attributes see `bring_in`."""

    kept: Path
    fps: float
    afresh: bool
    tell: Callable[[str], Any]

    def bring(self, given: str) -> Path:
        """Return the file or folder that stands for an argument."""
        local = Path(given)
        if given == STDIN:
            local = self._from_stdin()
        elif is_address(given):
            local = self._from_address(given)
        if video.is_video(local) and local.is_file():
            return self._filled(local, {"fps": self.fps}, self._frames)
        if is_archive(local) and local.is_file():
            return self._filled(local, {}, self._photos)
        return local

    def damaged(self, folder: Path) -> dict[str, str]:
        """Return why photos of what fills a folder are not there, by their names."""
        return read_settings(folder / BROUGHT)[1].get("damaged", {}) if folder.is_dir() else {}

    def _from_stdin(self) -> Path:
        data = sys.stdin.buffer.read(MAX_BYTES + 1) if sys.stdin else b""  # None: it is closed
        if not data:
            raise ValueError("nothing came from standard input")
        if len(data) > MAX_BYTES:
            raise ValueError(f"more than {MAX_BYTES >> 20} MB came from standard input")
        self.kept.mkdir(parents=True, exist_ok=True)
        path = self.kept / f"stdin-{hashlib.sha256(data).hexdigest()[:12]}"
        if not path.exists():
            write_atomically(path, data)
        return path

    def _from_address(self, address: str) -> Path:
        """Download a file, unless it is there, to a place called like its address."""
        import fsspec  # noqa: PLC0415 - most jobs do without

        url = urllib.parse.urlsplit(address)
        place = inside(f"{url.netloc}/{urllib.parse.unquote(url.path)}")
        if url.query:  # which tells photos of one path apart
            mark = hashlib.sha256(url.query.encode()).hexdigest()[:8]
            place = place.with_name(f"{place.stem}-{mark}{place.suffix}")
        path = self.kept / place
        if path.exists() and not self.afresh:
            return path
        self.tell(f"fetching {shortened(address)}")
        path.parent.mkdir(parents=True, exist_ok=True)
        large = is_archive(path) or video.is_video(path)
        most = shutil.disk_usage(path.parent).free if large else MAX_BYTES
        opened = fsspec.open(address, "rb", **stream_options(address))
        with replacing(path) as part, opened as source:
            with part.open("wb") as to:
                copy(source, to, most)
            if not part.stat().st_size:
                raise ValueError("the address gives an empty file")
        return path

    def _photos(self, path: Path, folder: Path) -> tuple[str, dict[str, str]]:
        count, damaged = unpack(path, folder)
        return f"{count} photos", damaged

    def _frames(self, path: Path, folder: Path) -> tuple[str, dict[str, str]]:
        count, damage = video.extract(path, folder, self.fps)
        return f"{count} frames", {"": f"the video is damaged: {damage}"} if damage else {}

    def _filled(
        self,
        path: Path,
        about: dict[str, Any],
        fill: Callable[[Path, Path], tuple[str, dict[str, str]]],
    ) -> Path:
        """Return the folder that holds what is in a file, filled now unless it is there already."""
        state, file = path.stat(), str(path.resolve())
        stamp = {"file": file, "bytes": state.st_size, "modified": state.st_mtime, **about}
        folder = next(
            place
            for place in numbered(self.kept / path.name)
            if not place.exists() or read_settings(place / BROUGHT)[0].get("file") == file
        )
        if self.afresh or read_settings(folder / BROUGHT)[0] != stamp:
            self.kept.mkdir(parents=True, exist_ok=True)
            with new_folder(folder, replace=True) as place:
                what, damaged = fill(path, place)
                self.tell(f"{path.name}: {what}")
                write_json(place / BROUGHT, {"settings": stamp, "damaged": damaged})
        return folder


def _reason(error: BaseException, address: str = "") -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = line_of(error)
    if address and text == address:  # all that fsspec says of what it cannot reach
        cause = f": {_reason(error.__cause__)}" if error.__cause__ else ""
        return f"it cannot be fetched{cause}"
    return text
