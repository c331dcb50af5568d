"""Every format and mode decodes to the RGB pixels that an image viewer shows."""

from __future__ import annotations

import io
import struct
import sys
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from search.data import decoding
from search.data.image_fit import Fit
from search.data.levels import SIXTEEN_BITS, Levels
from search.data.types import Images

SIZE = (4, 6)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def picture() -> Images:
    pixels = np.zeros((*SIZE, 3), dtype=np.uint8)
    pixels[:, :3] = (250, 10, 10)
    pixels[:, 3:] = (10, 10, 250)
    return pixels


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("PNG", {}),
        ("BMP", {}),
        ("JPEG", {"quality": 100, "subsampling": 0}),
        ("WEBP", {"lossless": True}),
        ("GIF", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("PPM", {}),
        ("AVIF", {"quality": 100, "subsampling": "4:4:4"}),
    ],
)
def test_every_format_keeps_its_pixels(kind: str, options: dict[str, Any]) -> None:
    content = encoded(Image.fromarray(picture()), kind, **options)
    assert decoding.read_header(content)[:2] == SIZE
    image = decoding.decode(content, SIZE)
    assert image.dtype == np.uint8
    assert np.abs(image.astype(int) - picture()).max() <= 4


def test_a_phone_photo_with_several_pictures_inside_is_a_jpeg() -> None:
    first, second = Image.new("RGB", (6, 4), (250, 0, 0)), Image.new("RGB", (6, 4), (0, 0, 250))
    content = encoded(first, "MPO", save_all=True, append_images=[second], quality=100)
    assert np.abs(decoding.decode(content, SIZE).astype(int) - (250, 0, 0)).max() <= 4


def test_the_first_frame_of_an_animation_counts() -> None:
    frames = [Image.new("RGB", (6, 4), color) for color in ("red", "lime", "blue")]
    content = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert (decoding.decode(content, SIZE) == (255, 0, 0)).all()


def test_grey_becomes_three_equal_channels() -> None:
    image = decoding.decode(encoded(Image.new("L", (6, 4), 77), "PNG"), SIZE)
    assert (image == 77).all()


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_transparency_is_laid_on_white(mode: str) -> None:
    image = Image.new("RGBA", (6, 4), (0, 0, 0, 0))
    image.paste((0, 0, 0, 255), (0, 0, 3, 4))
    if mode == "LA":
        content = encoded(image.convert("LA"), "PNG")
    elif mode == "PA":
        content = encoded(image, "GIF")
    else:
        content = encoded(image, "PNG")
    decoded = decoding.decode(content, SIZE)
    assert (decoded[:, :3] == 0).all()
    assert (decoded[:, 3:] == 255).all()


def test_a_palette_is_looked_up() -> None:
    content = encoded(Image.fromarray(picture()).quantize(4), "PNG")
    assert Image.open(io.BytesIO(content)).mode == "P"
    assert np.abs(decoding.decode(content, SIZE).astype(int) - picture()).max() <= 2


def test_16_bit_grey_is_scaled_and_not_clipped() -> None:
    levels = np.tile(np.array([0, 256, 1000, 32768, 65535, 40000], dtype=np.uint16), (4, 1))
    content = encoded(Image.fromarray(levels), "PNG")
    decoded = decoding.decode(content, SIZE)
    assert decoded[0, :, 0].tolist() == [0, 1, 3, 128, 255, 156]


def deep_colour(*values: int) -> bytes:
    """A PNG of 4x6 pixels with these 16-bit red, green and blue values."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        check = zlib.crc32(kind + body)
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", check)

    row = b"\0" + struct.pack(">3H", *values) * 6
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 6, 4, 16, 2, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(row * 4))
        + chunk(b"IEND", b"")
    )


def test_16_bit_colour_is_scaled() -> None:
    assert (decoding.decode(deep_colour(65535, 32768, 0), SIZE) == (255, 128, 0)).all()
    assert not decoding.decode(deep_colour(0, 0, 0), SIZE).any()


def test_12_bit_colour_in_16_bits_is_refused() -> None:
    with pytest.raises(ValueError, match="use 16 of 256 levels: scale them to 8 bits"):
        decoding.decode(deep_colour(4095, 2000, 0), SIZE)


def test_cmyk_becomes_rgb() -> None:
    content = encoded(Image.new("CMYK", (6, 4), (0, 255, 255, 0)), "JPEG", quality=100)
    decoded = decoding.decode(content, SIZE).astype(int)
    assert np.abs(decoded - (255, 0, 0)).max() <= 4


def test_exif_orientation_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # displayed rotated by 90 degrees clockwise
    upright = Image.fromarray(picture())
    content = encoded(upright, "JPEG", quality=100, subsampling=0, exif=exif)
    assert decoding.read_header(content)[:2] == (6, 4)
    decoded = decoding.decode(content, (6, 4)).astype(int)
    expected = np.rot90(picture(), k=-1)
    assert np.abs(decoded - expected).max() <= 4


def test_another_size_is_stretched() -> None:
    decoded = decoding.decode(encoded(Image.fromarray(picture()), "PNG"), (8, 12))
    assert decoded.shape == (8, 12, 3)
    assert np.abs(decoded[:, 0].astype(int) - (250, 10, 10)).max() <= 2
    assert np.abs(decoded[:, -1].astype(int) - (10, 10, 250)).max() <= 2


def test_a_large_photo_shrinks_to_what_it_shows() -> None:
    gradient = np.tile(np.linspace(0, 255, 1600).astype(np.uint8)[None, :, None], (1200, 1, 3))
    decoded = decoding.decode(encoded(Image.fromarray(gradient), "JPEG"), (24, 32))
    expected = np.linspace(0, 255, 32)
    assert np.abs(decoded[:, :, 0].astype(float) - expected).max() < 8


def test_truncated_files_and_other_formats_raise() -> None:
    content = encoded(Image.fromarray(picture()), "PNG")
    with pytest.raises(OSError, match="truncated"):
        decoding.decode(content[: len(content) // 2], SIZE)
    targa = encoded(Image.fromarray(picture()), "TGA")
    with pytest.raises(OSError, match="cannot identify"):
        decoding.decode(targa, SIZE)


def test_a_decompression_bomb_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    content = encoded(Image.fromarray(picture()), "PNG")
    monkeypatch.setattr(decoding, "_LARGEST_DECODED", 90)
    with decoding.strict_decoding(), pytest.raises(ValueError, match="6x4 pixels take 96 bytes"):
        decoding.decode(content, SIZE)


def test_pillows_own_limit_is_put_aside_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    content = encoded(Image.fromarray(picture()), "PNG")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5)
    with decoding.strict_decoding():
        assert decoding.decode(content, SIZE).shape == (*SIZE, 3)
    assert Image.MAX_IMAGE_PIXELS == 5


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "CMYK", "I;16", "F"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_a_huge_image_is_reduced_in_strips(
    monkeypatch: pytest.MonkeyPatch, mode: str, orientation: int
) -> None:
    rows = np.linspace(0, 255, 203).astype(np.uint8)
    grey = Image.fromarray(np.tile(rows[:, None], (1, 101)))
    image = grey.convert(mode) if mode != "I;16" else Image.fromarray(rows_of_16_bits(rows))
    exif = Image.Exif()
    exif[0x0112] = orientation
    kind = "TIFF" if mode in ("CMYK", "F") else "PNG"
    content = encoded(image, kind, exif=exif)
    size = (20, 10) if orientation == 1 else (10, 20)
    levels = SIXTEEN_BITS if mode == "I;16" else Levels(0, 255)
    whole = decoding.decode(content, size, levels).astype(int)
    monkeypatch.setattr(decoding, "_HUGE_PIXELS", 1000)
    monkeypatch.setattr(decoding, "_STRIP_PIXELS", 700)
    reduced = decoding.decode(content, size, levels).astype(int)
    assert reduced.shape == (*size, 3)
    assert np.abs(reduced - whole).max() <= (60 if mode == "1" else 4)


def rows_of_16_bits(rows: Images) -> Any:
    return np.tile(rows[:, None].astype(np.uint16) * 257, (1, 101))


def test_the_first_page_and_the_orientation_of_a_tiff_count() -> None:
    pages = [Image.fromarray(picture()), Image.new("RGB", (6, 4))]
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[0x0112] = 6
    content = encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:], tiffinfo=tags)
    assert decoding.read_header(content)[:2] == (6, 4)
    assert (decoding.decode(content, (6, 4)) == np.rot90(picture(), k=-1)).all()


def _stripes(height: int, width: int) -> Images:
    """Returns an image with a red, a green and a blue third along its longer side."""
    colors = np.array([(255, 0, 0), (0, 255, 0), (0, 0, 255)], dtype=np.uint8)
    thirds = np.arange(max(height, width)) * 3 // max(height, width)
    row = np.broadcast_to(colors[thirds], (min(height, width), max(height, width), 3))
    return np.ascontiguousarray(row if width > height else row.swapaxes(0, 1))


def test_a_crop_keeps_the_middle() -> None:
    for shape in [(30, 90), (90, 30)]:
        content = encoded(Image.fromarray(_stripes(*shape)), "PNG")
        image = decoding.decode(content, (10, 10), fit="crop")
        assert np.abs(image[1:-1, 1:-1].astype(int) - (0, 255, 0)).max() <= 2


def test_padding_keeps_all_between_black_borders() -> None:
    image = decoding.decode(encoded(Image.fromarray(_stripes(30, 90)), "PNG"), (9, 9), fit="pad")
    assert (image[[0, 1, 2, 6, 7, 8]] == 0).all()
    assert image[4, [1, 4, 7]].argmax(axis=1).tolist() == [0, 1, 2]

    line = Image.new("RGB", (2000, 1), "white")
    assert decoding.decode(encoded(line, "PNG"), (8, 8), fit="pad").any(axis=(1, 2)).sum() == 1


def test_a_fit_is_that_of_the_upright_image() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = encoded(Image.fromarray(_stripes(30, 90)), "PNG", exif=exif)
    image = decoding.decode(turned, (9, 9), fit="pad")
    assert (image[:, [0, 1, 2, 6, 7, 8]] == 0).all()
    assert image[:, 4].any(axis=1).all()


@pytest.mark.parametrize("fit", ["crop", "pad"])
@pytest.mark.parametrize("size", [(149, 224), (64, 96), (75, 112)])
def test_a_photo_of_the_same_shape_is_only_resized(fit: Fit, size: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (333, 500, 3), dtype=np.uint8)
    for content in (encoded(Image.fromarray(pixels), kind) for kind in ("PNG", "JPEG")):
        stretched = decoding.decode(content, size)
        assert (decoding.decode(content, size, fit=fit) == stretched).all()
    assert (decoding.resize(pixels, size, fit) == decoding.resize(pixels, size)).all()


def test_heic_needs_another_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    content = b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic" + bytes(100)
    with pytest.raises(ValueError, match="pip install pillow-heif"):
        decoding.decode(content, SIZE)


@pytest.mark.parametrize(
    ("size", "expected"),
    [((32, 32), (32, 32)), ((448, 224), (224, 112)), ((3000, 4000), (168, 224))],
)
def test_the_default_size_is_capped(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert decoding.default_size(*size) == expected
