"""The pictures of a report: thumbnails and occlusion maps of single test images."""

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from search.report.data import RunFacts
from search.report.words import percent, safe, shortened
from search.results.report_material import FOLDER, Group, OcclusionMap, Picture, decoded_picture

_TITLES: dict[Group, str] = {
    "mistake": "The most confident mistakes",
    "typical": "Typical correct answers",
    "unsure": "Least confident correct answers",
}
_MEDIA = {".png": "image/png", ".jpg": "image/jpeg"}
# Smaller pictures are enlarged by whole pixels, to show what the network saw.
_PIXELATED_SIDE = 64
# Amber where the image supports the class, grey elsewhere.
_AMBER = (255.0, 150.0, 20.0)
_STRONGEST = 0.78


def galleries(run: RunFacts) -> list[dict[str, Any]]:
    """Returns each group of pictures with its title, ready for the page."""
    if run.material is None:
        return []
    found = []
    for group, title in _TITLES.items():
        pictures = [
            _picture(run, picture)
            for picture in run.material.pictures
            if picture.group == group and _path(run.directory, picture.file).is_file()
        ]
        if pictures:
            found.append({"title": title, "pictures": pictures})
    return found


def _picture(run: RunFacts, picture: Picture) -> dict[str, Any]:
    names = run.class_names
    answer = picture.answers[0]
    predicted, true = names[answer.label], names[picture.true]
    right = answer.label == picture.true
    pixels = decoded_picture(run.directory, picture.file)
    height, width = pixels.shape[:2]
    verdict = "recognised correctly" if right else f"taken for {safe(predicted)}"
    occlusion = picture.map
    if occlusion is not None and not _path(run.directory, occlusion.file).is_file():
        occlusion = None
    return {
        "image": _encoded_file(_path(run.directory, picture.file)),
        "alternative": f"Test image {picture.source} of class {true}, {verdict}.",
        "right": right,
        "predicted": predicted,
        "true": true,
        "source": picture.source,
        "smooth": max(height, width) > _PIXELATED_SIDE,
        "shape": f"{width}/{height}",
        "answers": ", ".join(
            f"{shortened(names[one.label], 24)}: {percent(one.probability)}"
            for one in picture.answers
        ),
        **_map(run.directory, pixels, occlusion, predicted, answer.probability),
    }


def _map(
    directory: Path,
    pixels: npt.NDArray[np.uint8],
    occlusion: OcclusionMap | None,
    predicted: str,
    probability: float,
) -> dict[str, Any]:
    if occlusion is None:
        return {"map": None, "map_alternative": "", "covered": ""}
    heat = decoded_picture(directory, occlusion.file).astype(np.float64) / 255
    return {
        "map": _encoded(_lit(pixels, heat)),
        "map_alternative": f"The same image, amber where it supports {safe(predicted)}: "
        f"mostly {place_in_words(heat)}.",
        "covered": f"{percent(probability)} falls to {percent(occlusion.covered)} with the "
        f"most important region blurred",
    }


def place_in_words(heat: npt.NDArray[np.float64]) -> str:
    """Returns where a map (H, W) is brightest, as in `at the top left`."""
    height, width = heat.shape
    weight = heat**2 / (heat**2).sum()
    row = float((weight.sum(axis=1) * (np.arange(height) + 0.5)).sum()) / height
    column = float((weight.sum(axis=0) * (np.arange(width) + 0.5)).sum()) / width
    vertical = "top" if row < 0.4 else "bottom" if row > 0.6 else ""
    horizontal = "left" if column < 0.4 else "right" if column > 0.6 else ""
    where = " ".join(filter(None, (vertical, horizontal)))
    return f"at the {where}" if where else "in the middle"


def _lit(pixels: npt.NDArray[np.uint8], heat: npt.NDArray[np.float64]) -> npt.NDArray[np.uint8]:
    """Returns a picture in grey, tinted where a map is bright."""
    grey = np.repeat(pixels.mean(axis=2, keepdims=True), 3, axis=2)
    share = _STRONGEST * heat[..., None]
    lit: npt.NDArray[np.uint8] = np.rint(grey * (1 - share) + share * _AMBER).astype(np.uint8)
    return lit


def _encoded(pixels: npt.NDArray[np.uint8]) -> str:
    from PIL import Image

    stream = io.BytesIO()
    kind = "PNG" if max(pixels.shape[:2]) <= _PIXELATED_SIDE else "JPEG"
    Image.fromarray(pixels).save(stream, kind, quality=88)
    return _data_url(stream.getvalue(), f"image/{kind.lower()}")


def _encoded_file(path: Path) -> str:
    return _data_url(path.read_bytes(), _MEDIA[path.suffix])


def _data_url(content: bytes, media: str) -> str:
    return f"data:{media};base64,{base64.b64encode(content).decode('ascii')}"


def _path(directory: Path, file: str) -> Path:
    return directory / FOLDER / file
