"""Photos of every kind that people have, small."""

import numpy as np
from PIL import Image


def noise(mode="RGB", size=(90, 60)):
    levels = np.random.default_rng(0).integers(0, 256, (6, 9, 4))
    image = Image.fromarray(levels.astype(np.uint8)).resize(size, Image.Resampling.BICUBIC)
    return image.convert(mode)


def by_xmp(orientation):
    return {"xmp": b'<x:xmpmeta><rdf:Description tiff:Orientation="%d"/></x:xmpmeta>' % orientation}


def turned(orientation):
    exif = Image.Exif()
    exif[0x112] = orientation
    return {"exif": exif}


ODD = {
    **{f"turned{i}.jpg": (noise(), "JPEG", turned(i)) for i in range(1, 9)},
    "turned_by_xmp.jpg": (noise(), "JPEG", by_xmp(6)),
    "upright_by_xmp.jpg": (noise(), "JPEG", by_xmp(1)),
    "progressive.jpg": (noise(), "JPEG", {"progressive": True}),
    "grey.jpg": (noise("L"), "JPEG", {}),
    "cmyk.jpg": (noise("CMYK"), "JPEG", {}),
    "large.jpg": (noise(size=(3000, 2600)), "JPEG", {}),
    "alpha.png": (noise("RGBA"), "PNG", {}),
    "grey_alpha.png": (noise("LA"), "PNG", {}),
    "palette.png": (noise("P"), "PNG", {"transparency": 3}),
    "one_bit.png": (noise("1"), "PNG", {}),
    "colour.png": (noise(), "PNG", {"transparency": (0, 0, 0)}),
    "deep.png": (Image.fromarray(np.arange(5400, dtype=np.uint16).reshape(60, 90) * 12), "PNG", {}),
    "turned.png": (noise(), "PNG", turned(6)),
    "animated.gif": (noise("P"), "GIF", {"save_all": True, "append_images": [noise("L")]}),
    "animated.webp": (noise("RGBA"), "WEBP", {"save_all": True, "append_images": [noise()]}),
    "pages.tiff": (noise("F"), "TIFF", {"save_all": True, "append_images": [noise("F")]}),
    "two.jpg": (noise(), "MPO", {"save_all": True, "append_images": [noise("L").convert("RGB")]}),
    "modern.avif": (noise(), "AVIF", {}),
    "named_as.jpg": (noise("RGBA"), "PNG", {}),
    "named_as_too.png": (noise(), "JPEG2000", {}),
    "plain.bmp": (noise(), "BMP", {}),
    "phone.heic": (noise(), "HEIF", {}),
}
