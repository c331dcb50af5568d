"""Every format and mode comes out as the RGB pixels that a person would see."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from search.data import decoding
from search.data.dataset import Images

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
    ],
)
def test_every_format_keeps_its_pixels(kind: str, options: dict[str, Any]) -> None:
    content = encoded(Image.fromarray(picture()), kind, **options)
    assert decoding.stored_size(content) == SIZE
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


def test_16_bit_colour_is_scaled() -> None:
    def chunk(kind: bytes, body: bytes) -> bytes:
        check = zlib.crc32(kind + body)
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", check)

    row = b"\0" + struct.pack(">3H", 65535, 32768, 0) * 6
    content = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 6, 4, 16, 2, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(row * 4))
        + chunk(b"IEND", b"")
    )
    assert (decoding.decode(content, SIZE) == (255, 128, 0)).all()


def test_cmyk_becomes_rgb() -> None:
    content = encoded(Image.new("CMYK", (6, 4), (0, 255, 255, 0)), "JPEG", quality=100)
    decoded = decoding.decode(content, SIZE).astype(int)
    assert np.abs(decoded - (255, 0, 0)).max() <= 4


def test_exif_orientation_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned a quarter clockwise
    upright = Image.fromarray(picture())
    content = encoded(upright, "JPEG", quality=100, subsampling=0, exif=exif)
    assert decoding.stored_size(content) == (6, 4)
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
    tiff = encoded(Image.fromarray(picture()), "TIFF")
    with pytest.raises(OSError, match="cannot identify"):
        decoding.decode(tiff, SIZE)


def test_a_decompression_bomb_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    content = encoded(Image.fromarray(picture()), "PNG")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)  # 24 pixels: in Pillow's warning range
    with decoding.strict_decoding(), pytest.raises(Image.DecompressionBombWarning):
        decoding.decode(content, SIZE)


@pytest.mark.parametrize(
    ("size", "expected"),
    [((32, 32), (32, 32)), ((448, 224), (224, 112)), ((3000, 4000), (168, 224))],
)
def test_the_default_size_is_capped(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert decoding.default_size(*size) == expected
