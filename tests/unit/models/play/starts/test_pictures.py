"""Uploaded pictures of every kind become the frame that they show, and everything else gets one sentence."""

import io
import struct
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from models.play.starts import reader
from models.play.starts.decode import BadPictureError, Upload, frame_of_upload
from models.play.starts.reader import read_upload
from pipeline.workers.outcome import Outcome
from tests.odd_pictures import frame_in_small_process, sleep_long

WIDTH, HEIGHT = 64, 32
OVER = (10, 20, 30)
# four fields, so that every turn and mirror image of it is another picture
FIELDS = np.kron(
    np.array([[[200, 40, 40], [40, 180, 60]], [[40, 60, 220], [230, 220, 90]]], np.uint8),
    np.ones((HEIGHT // 2, WIDTH // 2, 1), np.uint8),
)
TURNS = [
    None, Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.ROTATE_180, Image.Transpose.FLIP_TOP_BOTTOM,
    Image.Transpose.TRANSPOSE, Image.Transpose.ROTATE_90, Image.Transpose.TRANSVERSE, Image.Transpose.ROTATE_270,
]  # fmt: skip


def _bytes(image, kind, **options):
    buffer = io.BytesIO()
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _frame(data, fit="crop", width=WIDTH, height=HEIGHT):
    return frame_of_upload(Upload(data, fit, width, height, OVER))


def _one_sentence(error):
    text = str(error)
    assert text
    assert "\n" not in text
    assert len(text) < 250
    assert ". " not in text
    return text


def _refusal(data):
    with pytest.raises(BadPictureError) as refused:
        _frame(data)
    return _one_sentence(refused.value)


def _chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _png(width, height, depth, colour, rows, *chunks):
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    packed = zlib.compress(b"".join(b"\0" + row for row in rows))
    parts = [_chunk(b"IHDR", head), *chunks, _chunk(b"IDAT", packed), _chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


MOVING = [Image.fromarray(FIELDS[::-1]), Image.fromarray(FIELDS[:, ::-1])]
LOSSLESS = {
    "png": ("PNG", {}),
    "png with a palette": ("PNG", {"palette": True}),
    "animated png": ("PNG", {"save_all": True, "append_images": MOVING}),
    "webp": ("WEBP", {"lossless": True}),
    "animated webp": ("WEBP", {"lossless": True, "save_all": True, "append_images": MOVING}),
    "gif": ("GIF", {}),
    "animated gif": ("GIF", {"save_all": True, "append_images": MOVING}),
    "bmp": ("BMP", {}),
    "tiff": ("TIFF", {"compression": "tiff_lzw"}),
    "several pages": ("TIFF", {"save_all": True, "append_images": MOVING}),
}
LOSSY = {
    "jpeg": ("JPEG", {"quality": 95}),
    "progressive jpeg": ("JPEG", {"quality": 95, "progressive": True}),
    "two pictures of a phone": ("MPO", {"quality": 95, "save_all": True, "append_images": MOVING}),
    "lossy webp": ("WEBP", {"quality": 95}),
    "avif": ("AVIF", {"quality": 95}),
}


@pytest.mark.parametrize(("kind", "options"), LOSSLESS.values(), ids=LOSSLESS)
def test_a_picture_of_the_frames_size_is_the_frame(kind, options):
    image = Image.fromarray(FIELDS)
    if options.get("palette"):
        image, options = image.quantize(8), {}
    assert np.array_equal(_frame(_bytes(image, kind, **options)), FIELDS)


@pytest.mark.parametrize(("kind", "options"), LOSSY.values(), ids=LOSSY)
def test_a_lossy_picture_is_the_frame_but_for_what_its_format_loses(kind, options):
    shown = _frame(_bytes(FIELDS, kind, **options)).astype(int)
    assert np.abs(shown - FIELDS).mean() < 4


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_shown_upright_whatever_its_orientation(kind, orientation):
    turn = TURNS[orientation - 1]
    image = Image.fromarray(FIELDS) if turn is None else Image.fromarray(FIELDS).transpose(turn)
    exif = Image.Exif()
    exif[0x0112] = orientation
    shown = _frame(_bytes(image, kind, exif=exif, **({"quality": 95} if kind in ("JPEG", "AVIF") else {})))
    assert np.abs(shown.astype(int) - FIELDS).mean() < 4


@pytest.mark.parametrize(
    "exif", [b"", b"II*\0", b"Exif\0\0MM\0*\xff\xff\xff\xff", b"\xff" * 100, b"II*\0\x08\0\0\0\xff\xff"]
)
def test_damaged_metadata_are_ignored(exif):
    assert np.abs(_frame(_bytes(FIELDS, "JPEG", quality=95, exif=exif)).astype(int) - FIELDS).mean() < 4
    assert np.array_equal(_frame(_png_of_fields(_chunk(b"eXIf", exif))), FIELDS)


def _png_of_fields(*chunks):
    return _png(WIDTH, HEIGHT, 8, 2, [row.tobytes() for row in FIELDS], *chunks)


def test_texts_and_profiles_that_unpack_to_much_are_ignored():
    bomb = zlib.compress(bytes(8 << 20))
    chunks = (_chunk(b"zTXt", b"Comment\0\0" + bomb), _chunk(b"iCCP", b"x\0\0" + bomb), _chunk(b"tEXt", b"<script>"))
    assert np.array_equal(_frame(_png_of_fields(*chunks)), FIELDS)


def test_sixteen_bits_are_scaled_and_not_cut_off():
    grey = np.linspace(0, 65535, WIDTH).astype(">u2")[None].repeat(HEIGHT, 0)
    wanted = np.round(grey.astype(float) / 257)
    assert np.abs(_frame(_png(WIDTH, HEIGHT, 16, 0, [row.tobytes() for row in grey]))[..., 0] - wanted).max() == 0
    colour = np.repeat(grey[..., None], 3, 2)
    assert np.abs(_frame(_png(WIDTH, HEIGHT, 16, 2, [row.tobytes() for row in colour]))[..., 1] - wanted).max() <= 1
    in_tiff = _bytes(Image.fromarray(grey.astype("<u2")), "TIFF")
    assert np.abs(_frame(in_tiff)[..., 2] - wanted).max() == 0


def test_transparent_pixels_show_the_colour_behind_and_bleed_nothing():
    red = np.zeros((HEIGHT, WIDTH, 4), np.uint8)
    red[..., 0] = 255  # invisible red
    red[:, : WIDTH // 2] = (0, 200, 0, 255)
    for data in (_bytes(red, "PNG"), _bytes(red, "WEBP", lossless=True), _bytes(np.kron(red, _ones(3)), "PNG")):
        shown = _frame(data)
        assert (shown[:, : WIDTH // 2] == (0, 200, 0)).all()
        assert (shown[:, WIDTH // 2 :] == OVER).all()
    grey = _png(WIDTH, HEIGHT, 16, 0, [b"\x80\x00" * WIDTH] * HEIGHT, _chunk(b"tRNS", b"\x80\x00"))
    assert (_frame(grey) == OVER).all()
    palette = _chunk(b"PLTE", bytes((9, 9, 9, 200, 100, 50)))
    rows = [b"\0" * (WIDTH // 2) + b"\1" * (WIDTH // 2)] * HEIGHT
    shown = _frame(_png(WIDTH, HEIGHT, 8, 3, rows, palette, _chunk(b"tRNS", b"\0")))
    assert (shown[0, 0] == OVER).all()
    assert (shown[0, -1] == (200, 100, 50)).all()


def _ones(side):
    return np.ones((side, side, 1), np.uint8)


def test_grey_two_colours_and_cmyk_are_read():
    assert (_frame(_bytes(Image.new("L", (WIDTH, HEIGHT), 77), "JPEG")) == 77).all()
    assert (_frame(_bytes(Image.new("1", (WIDTH, HEIGHT), 1), "PNG")) == 255).all()
    assert (_frame(_bytes(Image.new("LA", (WIDTH, HEIGHT), (77, 255)), "PNG")) == 77).all()
    cyan = _frame(_bytes(Image.new("CMYK", (WIDTH, HEIGHT), (255, 0, 0, 0)), "JPEG"))
    assert np.abs(cyan[0, 0].astype(int) - (0, 255, 255)).max() < 4
    lab = Image.new("LAB", (WIDTH, HEIGHT), (255, 128, 128))
    assert (_frame(_bytes(lab, "TIFF")) > 250).all()


def test_a_colour_profile_is_applied_and_a_wrong_one_is_not():
    linear = ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes()
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    for profile in (linear, lab, b"no profile", linear[:200]):
        assert np.array_equal(_frame(_bytes(FIELDS, "PNG", icc_profile=profile)), FIELDS)
    swapped = _swapped_srgb()
    shown = _frame(_bytes(FIELDS, "PNG", icc_profile=swapped))
    assert np.abs(shown.astype(int) - FIELDS[..., [2, 1, 0]]).max() <= 3


def _swapped_srgb():
    """Return the profile of sRGB with the tags of red and blue exchanged."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    for at in range(132, 132 + 12 * int.from_bytes(profile[128:132]), 12):
        name = bytes(profile[at : at + 4])
        profile[at : at + 4] = {b"rXYZ": b"bXYZ", b"bXYZ": b"rXYZ"}.get(name, name)
    return bytes(profile)


def test_crop_shows_the_middle_and_pad_shows_all_between_bars_of_the_edges_colours():
    wide = np.zeros((HEIGHT, 3 * WIDTH, 3), np.uint8)
    wide[:, :WIDTH], wide[:, WIDTH : 2 * WIDTH], wide[:, 2 * WIDTH :] = (255, 0, 0), FIELDS, (0, 0, 255)
    assert np.array_equal(_frame(_bytes(wide, "PNG")), FIELDS)
    shown = _frame(_bytes(wide, "PNG"), "pad")
    assert (shown[10:21, :20] == (255, 0, 0)).all(), "the picture has 11 rows, between bars above and below"
    top, left = shown[0], _frame(_bytes(wide.transpose(1, 0, 2), "PNG"), "pad")[:, 0]
    assert (top == top[0]).all()
    assert np.array_equal(top[0], np.round(shown[10].mean(0))), "the bar has the mean colour of the edge below it"
    assert (left == left[0]).all()


def test_small_pictures_keep_hard_pixels_where_they_fit_and_large_ones_are_averaged():
    small = np.random.default_rng(1).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    assert np.array_equal(_frame(_bytes(small, "PNG"), width=2 * WIDTH, height=2 * HEIGHT), np.kron(small, _ones(2)))
    assert np.array_equal(_frame(_bytes(np.kron(small, _ones(5)), "PNG")), small)


def _zip():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("picture.png", _bytes(FIELDS, "PNG"))
    return buffer.getvalue()


NO_PICTURES = {
    "nothing": (b"", "empty"),
    "html": (b"<!DOCTYPE html><html><img src=x></html>", "web page"),
    "html after a comment": (b"\n <!-- x -->\n<html>", "web page"),
    "html in utf-16": ("\ufeff<html>".encode("utf-16-le"), "web page"),
    "svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG drawing"),
    "svg after a declaration": (b"\xef\xbb\xbf<?xml version='1.0'?>\n<svg/>", "SVG drawing"),
    "text": (b"hello", "no picture: PNG"),
    "json": (b'{"a": 1}', "no picture: PNG"),
    "zip": (_zip(), "archive"),
    "pdf": (b"%PDF-1.7\n", "PDF"),
    "heic": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC photo"),
    "heif": (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "HEIC photo"),
    "mp4": (b"\0\0\0\x18ftypisom\0\0\0\0isommp41", "video"),
    "webm": (b"\x1aE\xdf\xa3" + bytes(40), "video"),
    "avi": (b"RIFF\0\0\0\0AVI LIST", "video"),
    "jpeg xl": (b"\xff\x0a" + bytes(40), "JPEG XL"),
    "postscript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "PostScript"),
    "one pixel": (_bytes(np.zeros((1, 1, 3), np.uint8), "PNG"), "1x1"),
    "a line": (_bytes(np.zeros((1, 30000, 3), np.uint8), "PNG"), "30000x1"),
    "a strip": (_bytes(np.zeros((4, 3000, 3), np.uint8), "PNG"), "20 times"),
    "too many pixels": (_png(9000, 9000, 8, 2, []), "9000x9000 = 81 million"),
    "very many pixels": (_png(65000, 65000, 8, 2, []), "64 million"),
    "a gif of four billion": (b"GIF89a\xff\xff\xff\xff" + _bytes(FIELDS, "GIF")[10:], "64 million"),
    "floats": (_bytes(Image.new("F", (WIDTH, HEIGHT)), "TIFF"), "32 bits"),
}


@pytest.mark.parametrize(("data", "says"), NO_PICTURES.values(), ids=NO_PICTURES)
def test_what_is_no_picture_gets_one_sentence_that_says_what_it_is(data, says):
    assert says in _refusal(data)


@pytest.mark.parametrize(("kind", "options"), {**LOSSLESS, **LOSSY}.values(), ids={**LOSSLESS, **LOSSY})
def test_a_picture_that_is_cut_short_is_refused(kind, options):
    image = Image.fromarray(FIELDS)
    first_alone = {
        name: value for name, value in options.items() if name not in ("palette", "save_all", "append_images")
    }
    data = _bytes(image, kind, **first_alone)
    for length in (len(data) // 4, len(data) // 2):
        assert "damaged or cut short" in _refusal(data[:length])


def test_changed_bytes_never_end_in_anything_but_a_frame_or_a_sentence():
    random = np.random.default_rng(0)
    for kind in ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "AVIF"):
        data = _bytes(FIELDS, kind)
        for _ in range(20):
            changed = bytearray(data)
            for at in random.integers(0, len(data), 4):
                changed[at] = int(random.integers(0, 256))
            try:
                assert _frame(bytes(changed)).shape == (HEIGHT, WIDTH, 3)
            except BadPictureError as exc:
                _one_sentence(exc)


def test_a_picture_is_read_in_another_process_which_does_not_load_the_world(monkeypatch):
    monkeypatch.setattr(reader, "frame_of_upload", frame_in_small_process)
    assert np.array_equal(read_upload(Upload(_bytes(FIELDS, "PNG"), "crop", WIDTH, HEIGHT, OVER)), FIELDS)


def _sentence_of(data=b"x"):
    with pytest.raises(BadPictureError) as refused:
        read_upload(Upload(data, "crop", WIDTH, HEIGHT, OVER))
    return _one_sentence(refused.value)


def test_a_picture_that_takes_too_long_is_ended(monkeypatch):
    monkeypatch.setattr(reader, "DEADLINE_S", 0.1)
    monkeypatch.setattr(reader, "frame_of_upload", sleep_long)
    assert "longer than" in _sentence_of()


@pytest.mark.parametrize(
    ("error_class", "says"),
    [("out_of_memory", "1536 MB of memory"), ("worker_died", "breaks the program"), ("Odd", "cannot be read")],
)
def test_whatever_ends_the_process_is_told_in_a_sentence(monkeypatch, error_class, says):
    given = []

    class Ends:
        def run(self, function, items):
            yield items[0], Outcome(False, None, error_class, "a text of the engine", 1)

    def engine(config, **options):
        given.append((config.memory_mb, config.max_attempts, options["deadline_s"]))
        return Ends()

    monkeypatch.setattr(reader, "make_engine", engine)
    assert says in _sentence_of()
    assert given == [(1536, 1, 20.0)]
    assert "16 MB" in _sentence_of(bytes(reader.MAX_BYTES + 1))
    assert len(given) == 1, "no process is started for it"
