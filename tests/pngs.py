"""PNG files of any depth, which Pillow reads and does not write."""

import struct
import zlib

import numpy as np

_KINDS = {1: 0, 3: 2, 2: 4, 4: 6}  # colour types by the number of channels


def png(samples, depth, transparent=None):
    """Return a PNG file.

    Args:
        samples: (H, W, C) whole numbers of ``depth`` bits: grey, grey and alpha, RGB or RGBA.
        depth: 1, 2, 4 (grey alone), 8 or 16.
        transparent: the sample or samples of the pixels that are.
    """
    samples = np.asarray(samples)
    height, width, channels = samples.shape
    if depth == 16:
        rows = samples.astype(">u2").view(np.uint8).reshape(height, -1)
    else:
        bits = np.unpackbits(samples.astype(np.uint8)[..., None], axis=-1)[..., 8 - depth :]
        rows = np.packbits(bits.reshape(height, -1), axis=1)
    header = struct.pack(">IIBBBBB", width, height, depth, _KINDS[channels], 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(np.pad(rows, [(0, 0), (1, 0)]).tobytes()))]
    if transparent is not None:
        named = np.atleast_1d(transparent)
        chunks.insert(1, (b"tRNS", struct.pack(f">{len(named)}H", *named.tolist())))
    file = b"\x89PNG\r\n\x1a\n"
    for name, content in [*chunks, (b"IEND", b"")]:
        body = name + content
        file += struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))
    return file
