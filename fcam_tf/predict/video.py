"""Videos: extracting frames, and writing a video of their overlays."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from types import ModuleType

import numpy as np
from PIL import Image

from fcam_tf import checks
from fcam_tf.atomic import replacing

_SUFFIXES = frozenset({".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm"})
_SHORT = 0.5  # seconds that may be missing at the end, as what a file declares is not exact
_USUAL_RATE = 25  # frames per second where a file says nothing of time
_QUALITY = 95  # of the JPEG files that frames become


def is_video(path: Path) -> bool:
    """Tell by its name whether a file is a video."""
    return path.suffix.lower() in _SUFFIXES


def extract(path: Path, folder: Path, fps: float) -> tuple[int, str]:
    """Write frames of a video as upright photos, named by number and time: "000012_6.000s.jpg".

    Args:
        path: the video; any format that FFmpeg reads. Of several in one file, the first is taken.
        folder: where the frames go.
        fps: frames taken per second; each is the first at or after its time. A video with fewer
            frames gives all of them.

    Returns:
        The number of frames, and what is damaged or missing, or "".

    Raises:
        ImportError: PyAV is not installed.
        ValueError: ``fps`` is impossible, or the file has no video that can be decoded.
        OSError: a frame cannot be written.
    """
    av = _library()
    checks.number("fps", fps, "(0, 1000]")
    count, damaged, damage = 0, False, ""
    last = wanted = -math.inf
    try:
        with av.open(str(path)) as container:
            cover = av.stream.Disposition.attached_pic  # of a record, in a file of sound
            streams = [each for each in container.streams.video if not each.disposition & cover]
            if not streams:
                raise ValueError("there is no video in this file")
            stream = streams[0]
            stream.thread_type = "AUTO"
            rate = float(stream.guessed_rate or _USUAL_RATE)
            for number, frame in enumerate(container.decode(stream)):
                damaged |= frame.is_corrupt
                time = number / rate if frame.time is None else frame.time
                if time < last:  # of several videos, joined into one file, each begins anew
                    wanted = -math.inf
                last = time
                if time + 1e-6 < wanted:
                    continue
                count += 1
                wanted = (math.floor(time * fps + 1e-6) + 1) / fps
                image = frame.to_image().rotate(frame.rotation, expand=True)
                name = folder / f"{count:06d}_{time:.3f}s.jpg"
                image.save(name, quality=_QUALITY, subsampling=0)
    except av.FFmpegError as error:
        damage = str(error.strerror or error)
    if not count:
        raise ValueError(f"the video cannot be read: {damage or 'it has no frames'}")
    damage = damage or _missing(av, path)
    return count, damage or ("some of its frames are damaged" if damaged else "")


def _missing(av: ModuleType, path: Path) -> str:
    """Tell whether a video ends before the time that it declares: FFmpeg says nothing of it."""
    with av.open(str(path)) as container:
        if container.duration is None:
            return ""
        # Of all streams: sound may last longer than the pictures.
        ends = [
            (packet.pts + (packet.duration or 0)) * packet.time_base
            for packet in container.demux()
            if packet.pts is not None
        ]
        # Matroska declares when it ends, others how long they are.
        start = 0 if "matroska" in container.format.name else container.start_time or 0
        declared = (start + container.duration) / av.time_base
    end = float(max(ends, default=0))
    return f"it ends after {end:.3f} of {declared:.3f} s" if end < declared - _SHORT else ""


def renew(path: Path, pictures: Sequence[Path], fps: float) -> bool:
    """Write a video unless it exists and no picture is newer; tell whether it was written.

    For the arguments and errors see `write_video`.
    """
    newest = max(picture.stat().st_mtime for picture in pictures)
    if path.exists() and path.stat().st_mtime >= newest:
        return False
    write_video(path, pictures, fps)
    return True


def write_video(path: Path, pictures: Iterable[Path], fps: float) -> None:
    """Write pictures as an MP4 video (H.264), completely or not at all.

    Args:
        path: the file.
        pictures: picture files of one size; if a side is odd, its last row or column is left out.
        fps: pictures per second.

    Raises:
        ImportError: PyAV is not installed.
        OSError: a picture cannot be read, or the video cannot be written.
    """
    av = _library()
    with replacing(path) as part, av.open(str(part), "w", format="mp4") as container:
        stream = None
        for file in pictures:
            with Image.open(file) as image:
                pixels = np.asarray(image.convert("RGB"))
            height, width = (side - side % 2 for side in pixels.shape[:2])
            if stream is None:
                stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1000))
                stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
            frame = np.ascontiguousarray(pixels[: stream.height, : stream.width])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        if stream is not None:
            container.mux(stream.encode())


def _library() -> ModuleType:
    try:
        import av  # noqa: PLC0415 - an extra
    except ImportError:
        raise ImportError("videos need PyAV: pip install 'fcam_tf[video]'") from None
    return av
