"""Which photos a user means, and the names of their outputs."""

from __future__ import annotations

import dataclasses
import fnmatch
import glob
import itertools
import os
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from fcam_tf.claim import SETTINGS
from fcam_tf.names import printable
from fcam_tf.photos import LINKED, NOT_PHOTOS, SUFFIXES, passed_over
from fcam_tf.predict.archives import is_archive, numbered
from fcam_tf.predict.files import ANNOTATIONS, is_output
from fcam_tf.predict.outputs import RESULTS
from fcam_tf.predict.video import is_video

_SKIPPED = "folders that a glob matches, which are not searched (** does)"
BROUGHT = ".brought.json"  # in a folder that was filled from an archive or a video
_NAME_BYTES = 200  # file systems allow 255, and outputs add a suffix


@dataclasses.dataclass(frozen=True)
class Source:
    """One photo to localise."""

    path: Path  # the file, absolute
    # What its outputs are called, relative to the output folder, without a suffix. A photo found in
    # a folder keeps its place below that folder
    name: str
    origin: str | None = None  # where a photo was brought from


@dataclasses.dataclass(frozen=True)
class Failure:
    """A photo that could not be localised.

    Attributes:
        file: the photo, or the user's argument if it does not name a photo.
        reason: why, in one line.
    """

    file: str
    reason: str


def find_photos(
    arguments: Iterable[str | os.PathLike[str]],
    exclude: Sequence[str] = (),
    kept: Path | None = None,
) -> tuple[list[Source], list[Failure], list[str]]:
    """List the photos that files, folders and globs stand for.

    Folders are searched recursively for files with a photo's extension. Hidden files, outputs of
    earlier jobs, and what these took from archives and videos are left out. Globs may contain
    ``**``. A photo that is named twice is listed once. `expanded` handles archives and videos that
    a glob matches.

    Args:
        arguments: files, folders and globs.
        exclude: patterns with ``*`` and ``?``; photos that they match are left out. Each is
            compared with a photo's path below the searched folder, and with each part of that path.
        kept: folder of the photos that `bring_in` fetched; they are named by their path in it.

    Returns:
        The photos in the order of the arguments, those of a folder or glob sorted; the arguments
        that match no photo; and what was skipped, with one line for each kind.
    """
    photos: dict[Path, Source] = {}
    failures: list[Failure] = []
    others: dict[str, list[Path]] = {}
    excluded = 0
    for given in arguments:
        argument, path = os.fspath(given), Path(given)
        if not argument:
            root, found, reason = path, [], "an empty name"
        elif path.is_dir():
            root, found = path, _in_folder(path, failures, others)
            reason = "there is no photo in this folder"
        elif _is_glob(argument):
            before = itertools.takewhile(lambda part: not glob.has_magic(part), path.parts)
            root, found = Path(*before), [p for p in _matches(argument) if not _to_unpack(p)]
            reason = "no photo matches"
        else:
            root, found = path.parent, [path] if os.path.lexists(path) else []
            reason = "there is no such file"
        ours = kept is not None and path.is_relative_to(kept)
        if found != [path] and not ours:  # a file that is named itself is taken as it is
            found = _of_interest(found, others, searched="**" in path.parts)
        before_exclusion = len(found)
        found = [p for p in found if not is_excluded(Path(os.path.relpath(p, root)), exclude)]
        excluded += before_exclusion - len(found)
        if not before_exclusion:
            failures.append(Failure(argument or "''", reason))
        if ours and kept:
            root = kept
        for photo in found:
            absolute = _absolute(photo)
            source = Source(absolute, _safe_name(Path(os.path.relpath(photo, root))))
            photos.setdefault(absolute, source)
    notes = [
        passed_over([displayed(str(path)) for path in sorted(paths)], why)
        for why, paths in others.items()
        if paths
    ]
    if exclude:  # nothing, too: the pattern may be misspelt
        notes.append(f"{excluded or 'nothing'} left out by --exclude")
    return list(photos.values()), failures, notes


def expanded(argument: str) -> list[str]:
    """Return an argument and, if it is a glob, the archives and videos that it matches.

    They follow the glob, which is left out if it matches nothing else.
    """
    if not _is_glob(argument):
        return [argument]
    matches = _matches(argument)
    unpacked = [path for path in matches if _to_unpack(path)]
    only = unpacked and len(unpacked) == len(matches)
    return [*[argument] * (not only), *map(str, unpacked)]


def is_excluded(relative: Path, patterns: Sequence[str]) -> bool:
    """Tell whether a pattern matches a path below a folder, or a part of that path."""
    names = (str(relative), *relative.parts)
    return any(fnmatch.fnmatch(name, pattern) for pattern in patterns for name in names)


def displayed(file: str) -> str:
    """Return a file's name as one printable line, relative if it is below the current folder."""
    relative = os.path.relpath(file)
    name = file if relative.startswith("..") else relative
    return printable(name)


def unused_name(name: str, taken: Collection[str]) -> str:
    """Return a name, numbered ("cat-2") if it is ``taken``; these are case-folded.

    Some file systems ignore case.
    """
    numbered = (name if number == 1 else f"{name}-{number}" for number in itertools.count(1))
    return next(candidate for candidate in numbered if candidate.casefold() not in taken)


def clear_of_files(name: str, out: Path) -> str:
    """Return a name below ``out`` none of whose folders is a file there, such as a video."""
    *above, last = name.split("/")
    folder = out
    for part in above:
        folder = next(place for place in numbered(folder / part) if not place.is_file())
    return (folder.relative_to(out) / last).as_posix()


def _is_glob(argument: str) -> bool:
    return glob.has_magic(argument) and not os.path.lexists(argument)


def _matches(argument: str) -> list[Path]:
    found = [*map(Path, sorted(glob.glob(argument, recursive=True)))]  # noqa: PTH207 - knows "**"
    if "**" not in Path(argument).parts:
        return found
    # Links that lead round would give each photo dozens of times, at ever longer paths.
    round_ = {folder for folder in {path.parent for path in found} if _leads_round(folder)}
    return [path for path in found if path.parent not in round_]


def _leads_round(folder: Path) -> bool:
    links = [place for place in (folder, *folder.parents) if place.is_symlink()]
    return any(link.parent.resolve().is_relative_to(link.resolve()) for link in links)


def _to_unpack(path: Path) -> bool:
    return (is_video(path) or is_archive(path)) and path.is_file() and not _is_output(path)


def _in_folder(folder: Path, failures: list[Failure], others: dict[str, list[Path]]) -> list[Path]:
    def unreadable(error: OSError) -> None:
        failures.append(Failure(str(error.filename), str(error.strerror)))

    found: list[Path] = []
    rest, links = (others.setdefault(why, []) for why in (NOT_PHOTOS, LINKED))
    for parent, folders, files in os.walk(folder, onerror=unreadable):
        if BROUGHT in files and parent != str(folder):
            folders.clear()
            continue
        folders[:] = [name for name in folders if not name.startswith(".")]
        paths = [Path(parent, name) for name in files if not name.startswith(".")]
        found += [path for path in paths if path.suffix.lower() in SUFFIXES]
        if RESULTS in files:  # an output folder, whose data sets link to photos
            folders[:] = [name for name in folders if name != ANNOTATIONS]
        else:
            rest += [path for path in paths if path.suffix.lower() not in SUFFIXES]
        links += [path for name in folders if (path := Path(parent, name)).is_symlink()]
    return sorted(found)


def _of_interest(paths: list[Path], others: dict[str, list[Path]], *, searched: bool) -> list[Path]:
    """Leave out folders, and outputs of earlier jobs; ``searched``: the glob searches folders."""
    folders = {path for path in paths if path.is_dir()}
    outputs = {path for path in paths if path not in folders and _is_output(path)}
    others.setdefault("outputs of an earlier job", []).extend(outputs)
    others.setdefault(_SKIPPED, []).extend(() if searched else folders)
    left_out = folders | outputs
    return [path for path in paths if path not in left_out]


def _absolute(path: Path) -> Path:
    """Make absolute; unlike with `Path.resolve`, links keep their own names."""
    return Path(os.path.abspath(path))  # noqa: PTH100


def _is_output(path: Path) -> bool:
    path, ours = _absolute(path), is_output(path.name) or path.name in (RESULTS, SETTINGS)
    return any(
        (folder / RESULTS).is_file() and (ours or path.is_relative_to(folder / ANNOTATIONS))
        for folder in path.parents
    )


def _safe_name(relative: Path) -> str:
    # Without "..", which would lead out of the output folder. Cut in bytes; what is not UTF-8 (a
    # letter cut in half, an ancient name) is dropped.
    parts = [
        os.fsencode(part)[:_NAME_BYTES].decode("utf-8", "ignore")
        for part in relative.with_suffix("").parts
        if part != os.pardir
    ]
    if len(parts) > 1 and parts[0].casefold() == ANNOTATIONS:
        parts.insert(0, "photos")  # what is written anew there would take their outputs away
    return "/".join(part or "photo" for part in parts)
