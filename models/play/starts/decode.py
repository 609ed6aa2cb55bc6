"""Turn the bytes of a picture into a frame of the world. A worker process runs this: see `models.play.starts.reader`.

Nothing of a picture is used but its pixels, its orientation and its colour profile. An animation counts by its first
frame. This module imports neither torch nor the world, so that the worker starts at once.
"""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageCms, UnidentifiedImageError

from models.play.starts.fitting import Fit, padded, scaled
from models.play.starts.picture_kinds import damaged, picture_kind, why_no_picture
from models.play.starts.png_chunks import without_texts

MAX_PIXELS = 64_000_000
"""Largest picture: photos of today's phones have up to 50 million pixels."""
MIN_SIDE = 4
MAX_ASPECT = 20
"""The longer side of a picture may be so many times the shorter."""
_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "AVIF", "TIFF")
_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SPACES = {"L": "GRAY", "RGB": "RGB", "RGBA": "RGB", "CMYK": "CMYK", "LAB": "Lab"}
# what Pillow raises for damaged bytes
DAMAGE = (
    OSError, ValueError, SyntaxError, EOFError, struct.error, zlib.error, LookupError, TypeError, ArithmeticError,
    AttributeError, RuntimeError,
)  # fmt: skip
_DRAFT = 2  # a JPEG is decoded at no less than so many times the size that is needed


class BadPictureError(ValueError):
    """An upload that no game can start from; the message is one sentence for the person who sent it."""

    error_class = "bad_picture"


@dataclass(frozen=True)
class Upload:
    """The bytes of a picture, and the frame that is wanted of it."""

    data: bytes
    fit: Fit
    width: int
    height: int
    background: tuple[int, int, int]
    """What shows through where the picture is transparent."""


def frame_of_upload(upload: Upload) -> np.ndarray:
    """Return the frame (H, W, 3), uint8, of an upload; BadPictureError where it is no picture to start from."""
    with warnings.catch_warnings():
        # Pillow warns of odd metadata, which is not used
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with _opened(upload.data) as image:
            _check_size(image.size)
            profile = image.info.get("icc_profile")
            loaded, orientation = _loaded(image, upload)
    turned = orientation >= 5
    size = (upload.height, upload.width) if turned else (upload.width, upload.height)
    small = scaled(_basic(loaded, upload.data), upload.fit, *size)
    if orientation in _TURNS:
        small = small.transpose(_TURNS[orientation])
    frame_HWC = _over(_in_srgb(small, profile), upload.background)
    return padded(frame_HWC, upload.width, upload.height)


def _opened(data: bytes) -> Image.Image:
    try:
        return Image.open(io.BytesIO(without_texts(data)), formats=_FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as exc:
        raise BadPictureError(_too_large("more than ")) from exc
    except UnidentifiedImageError as exc:
        raise BadPictureError(damaged(data) if picture_kind(data) else why_no_picture(data)) from exc
    except DAMAGE as exc:
        raise BadPictureError(damaged(data)) from exc


def _check_size(size: tuple[int, int]) -> None:
    width, height = size
    if width * height > MAX_PIXELS:
        raise BadPictureError(_too_large(f"{width}x{height} = {width * height / 1e6:.0f} million, more than "))
    if min(size) < MIN_SIDE:
        raise BadPictureError(f"the picture is {width}x{height} pixels: each side must have at least {MIN_SIDE}")
    if max(size) > MAX_ASPECT * min(size):
        raise BadPictureError(
            f"the picture is {width}x{height} pixels: its longer side may be at most {MAX_ASPECT} times its shorter "
            "one, so cut a part out of it"
        )


def _too_large(what: str) -> str:
    return f"the picture has {what}{MAX_PIXELS / 1e6:.0f} million pixels: send a smaller copy"


def _loaded(image: Image.Image, upload: Upload) -> tuple[Image.Image, int]:
    """Return the decoded first frame, and its orientation by EXIF, 1 to 8."""
    try:
        if image.format in ("JPEG", "MPO"):
            # a photo of 50 million pixels is decoded at a part of its size; which side is which is not known yet
            side = _DRAFT * max(upload.width, upload.height)
            image.draft(None, (side, side))
        image.load()
    except DAMAGE as exc:
        raise BadPictureError(damaged(upload.data)) from exc
    try:
        orientation = image.getexif().get(_ORIENTATION, 1)
    except DAMAGE:
        return image, 1  # damaged metadata are no reason to refuse a picture
    return image, orientation if orientation in _TURNS else 1


def _basic(image: Image.Image, data: bytes) -> Image.Image:
    """Return a picture in one of the modes L, RGB, RGBA, CMYK and LAB, 8 bits each."""
    mode, transparent = image.mode, image.info.get("transparency")
    if mode.startswith("I;16"):
        return _of_16_bits(image, transparent)
    if mode in ("I", "F"):
        raise BadPictureError("the picture has 32 bits for each value: save it with 8 or 16")
    try:
        if mode in ("LA", "La", "PA", "RGBa") or (transparent is not None and mode in ("1", "L", "P", "RGB")):
            return image.convert("RGBA")
        if mode == "1":
            return image.convert("L")
        return image if mode in _SPACES else image.convert("RGB")
    except DAMAGE as exc:
        raise BadPictureError(damaged(data)) from exc


def _of_16_bits(image: Image.Image, transparent: object) -> Image.Image:
    """Return a grey picture of 16 bits in 8 bits; Pillow's own conversion would cut all above 255 off."""
    values = np.asarray(image)
    levels = np.round(np.arange(1 << 16) / 257).astype(np.uint8)
    grey = Image.fromarray(levels[values])
    if not isinstance(transparent, int):
        return grey
    shown = grey.convert("RGBA")
    shown.putalpha(Image.fromarray(np.where(values == transparent, 0, 255).astype(np.uint8)))
    return shown


def _in_srgb(image: Image.Image, profile: object) -> Image.Image:
    """Return a picture in the colours of sRGB, as RGB or RGBA; a profile that is damaged or of another kind is none."""
    wanted = "RGBA" if image.mode == "RGBA" else "RGB"
    if isinstance(profile, bytes) and profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            if source.profile.xcolor_space.strip() == _SPACES[image.mode]:
                return _transformed(image, source, wanted)
        except (ImageCms.PyCMSError, *DAMAGE):
            pass  # the picture is shown in the numbers that it has
    if image.mode == "LAB":
        return _transformed(image, ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")), wanted)
    return image if image.mode == wanted else image.convert(wanted)


def _transformed(image: Image.Image, source: ImageCms.ImageCmsProfile, wanted: str) -> Image.Image:
    found = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode=wanted)
    assert found is not None, "a picture is returned where it is not changed in place"
    return found


def _over(image: Image.Image, background: tuple[int, int, int]) -> np.ndarray:
    """Return the pixels (H, W, 3) of a picture over a colour."""
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, (*background, 255)), image).convert("RGB")
    return np.asarray(image)
