"""Colours of known patches come out right, whatever pixel format, matrix, range and transfer function they have."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from pipeline.clips.decode import open_video
from pipeline.clips.flags import flags_of
from pipeline.clips.geometry import ClipLook
from pipeline.clips.tone import tone_map
from pipeline.config.clips import ClipConfig
from pipeline.footage.look import HLG, PQ
from tests.media import run_ffmpeg
from tests.patches import PATCHES, X264, encoded, hdr_file, painted

CASES = os.environ.get("LAMPWORKS_CASES")
real_cases = pytest.mark.skipif(not CASES, reason="LAMPWORKS_CASES names no folder of odd files")
CONFIG = ClipConfig(seconds=2, fps=8, width=160, height=90)
MAPPED = ClipConfig(seconds=2, fps=8, width=160, height=90, hdr="tone-map")
BLACK = {"black_share": 0.0, "still_share": 0.0, "letterbox_share": 0.0, "num_cuts": 0, "overlay_share": 0.0}


def cut(path: Path, config: ClipConfig = CONFIG) -> tuple[np.ndarray, ClipLook]:
    """Return the colours of the six patches as cut, and what the clip's row says of them."""
    [window] = list(open_video(path, config).windows())
    middles = [(22 + 45 * (index // 3), 26 + 54 * (index % 3)) for index in range(6)]
    return np.array([window.frames[8][place] for place in middles], int), window.look


def worst(found: np.ndarray, wanted: np.ndarray = PATCHES) -> int:
    return int(np.abs(found - wanted).max())


PALETTE = "split[a][b];[a]palettegen[p];[b][p]paletteuse"
FORMATS: dict[str, tuple[str, Sequence[str]]] = {
    "full range by the pixel format": ("v.mp4", ["-pix_fmt", "yuvj420p", *X264]),
    "10 bits": ("v.mp4", ["-pix_fmt", "yuv420p10le", *X264]),
    "10 bits 4:2:2": ("v.mp4", ["-pix_fmt", "yuv422p10le", *X264]),
    "4:4:4": ("v.mp4", ["-pix_fmt", "yuv444p", *X264]),
    "RGB as H.264": ("v.mp4", ["-c:v", "libx264rgb", "-crf", "0"]),
    "RGB with alpha": ("v.mov", ["-c:v", "qtrle", "-pix_fmt", "argb"]),
    "YUV with alpha": ("v.mov", ["-c:v", "prores_ks", "-profile:v", "4", "-pix_fmt", "yuva444p10le"]),
    "a palette": ("v.mov", ["-vf", PALETTE, "-c:v", "png", "-pix_fmt", "pal8"]),
    "GIF": ("v.gif", ["-vf", PALETTE]),
    "16 bits a colour": ("v.mov", ["-c:v", "png", "-pix_fmt", "rgb48be"]),
    "15 bits a pixel": ("v.avi", ["-c:v", "rawvideo", "-pix_fmt", "rgb555le"]),
    "VP9 as RGB": ("v.webm", ["-c:v", "libvpx-vp9", "-cpu-used", "8", "-crf", "4", "-pix_fmt", "gbrp"]),
    "MJPEG": ("v.avi", ["-c:v", "mjpeg", "-q:v", "2"]),
}


@pytest.mark.parametrize("what", FORMATS)
def test_patches_keep_their_colours_in_every_pixel_format(tmp_path: Path, what: str) -> None:
    name, options = FORMATS[what]
    found, look = cut(encoded(tmp_path / name, painted(PATCHES.astype(np.uint8)), *options))
    assert worst(found) <= (10 if what == "15 bits a pixel" else 6)
    assert look.transfer == "unspecified"


@pytest.mark.parametrize("bits", ["gray", "gray16le"])
def test_grey_pictures_keep_their_levels(tmp_path: Path, bits: str) -> None:
    greys = np.array([[level] * 3 for level in (0, 40, 90, 140, 200, 255)])
    path = encoded(tmp_path / "v.mkv", painted(greys.astype(np.uint8)), "-c:v", "ffv1", "-pix_fmt", bits)
    assert worst(cut(path)[0], greys) <= 2


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize(
    ("matrix", "tag"),
    [("bt601", "smpte170m"), ("bt709", "bt709"), ("bt2020", "bt2020nc"), ("smpte240m", "smpte240m"), ("fcc", "fcc")],
)
@pytest.mark.parametrize("by", ["stream", "container"])
def test_every_matrix_and_range_is_undone(tmp_path: Path, matrix: str, tag: str, full: bool, by: str) -> None:
    scale = f"scale=out_color_matrix={matrix}:out_range={'full' if full else 'limited'},format=yuv444p"
    tags = f"setparams=colorspace={tag}:color_primaries=bt709:color_trc=bt709"
    options = ["-vf", f"{scale},{tags}", *X264]
    if by == "container":
        # the stream is left without a word on colours; the mp4's own atom has them
        options += ["-bsf:v", "h264_metadata=matrix_coefficients=2"]
    found, _ = cut(encoded(tmp_path / "v.mp4", painted(PATCHES.astype(np.uint8)), *options))
    assert worst(found) <= 4


@pytest.mark.parametrize(("number", "encoded_as"), [(3, "bt601"), (10, "bt2020"), (13, "bt2020"), (11, "bt2020")])
def test_a_matrix_that_the_scaler_does_not_know_is_read_as_the_nearest(
    tmp_path: Path, number: int, encoded_as: str
) -> None:
    options = ["-vf", f"scale=out_color_matrix={encoded_as},format=yuv444p", *X264]
    options += ["-bsf:v", f"h264_metadata=matrix_coefficients={number}"]
    found, _ = cut(encoded(tmp_path / "v.mp4", painted(PATCHES.astype(np.uint8)), *options))
    assert worst(found) <= 4


@pytest.mark.parametrize("full", [False, True])
def test_ycgco_as_lossless_screen_recorders_write_it_is_undone(tmp_path: Path, full: bool) -> None:
    red, green, blue = np.moveaxis(painted(PATCHES.astype(np.float64)), -1, 0)
    luma, cg, co = red / 4 + green / 2 + blue / 4, green / 2 - red / 4 - blue / 4, red / 2 - blue / 2
    if not full:
        luma, cg, co = 16 + luma * 219 / 255, cg * 224 / 255, co * 224 / 255
    planes = np.rint(np.stack([luma, cg + 128, co + 128])).astype(np.uint8)
    options = ["-c:v", "libx264", "-qp", "0", "-pix_fmt", "yuv444p", "-bsf:v"]
    options += [f"h264_metadata=matrix_coefficients=8:video_full_range_flag={int(full)}"]
    found, _ = cut(encoded(tmp_path / "v.mkv", planes, *options, kind="yuv444p"))
    assert worst(found) <= 4


# -- HDR ------------------------------------------------------------------------------------------------------------


NO_VUI = "h264_metadata=transfer_characteristics=2:colour_primaries=2:matrix_coefficients=2"
HDR_FILES: dict[str, tuple[str, str, Sequence[str], Sequence[str] | None]] = {
    "PQ by the stream": ("v.mp4", PQ, [], None),
    "HLG by the stream": ("v.mkv", HLG, [], None),
    "PQ by the mp4's colour atom": ("v.mp4", PQ, ["-bsf:v", NO_VUI], None),
    "HLG by Matroska's colour element": ("v.mkv", HLG, ["-bsf:v", NO_VUI], None),
    "PQ in VP9": ("v.webm", PQ, [], ["-c:v", "libvpx-vp9", "-cpu-used", "8", "-crf", "10", "-pix_fmt", "yuv420p10le"]),
    "PQ as 8 bits": ("v.mp4", PQ, [], [*X264, "-pix_fmt", "yuv444p"]),
}


@pytest.mark.parametrize("what", HDR_FILES)
def test_hdr_is_flagged_or_tone_mapped_to_the_colours_it_was_made_from(tmp_path: Path, what: str) -> None:
    name, transfer, more, codec = HDR_FILES[what]
    path = hdr_file(tmp_path / name, transfer, *more, **({} if codec is None else {"codec": codec}))
    washed, look = cut(path)
    assert worst(washed) > 60
    assert (look.transfer, look.changes) == (transfer, ())
    assert flags_of(BLACK | {"transfer": look.transfer, "changes": list(look.changes)}, CONFIG) == ["hdr"]
    found, look = cut(path, MAPPED)
    # 230 of 255 comes out at 214: highlights have their place above it
    assert worst(found) <= 20
    assert (look.transfer, look.changes) == (transfer, ("tone-mapped",))
    assert flags_of(BLACK | {"transfer": look.transfer, "changes": list(look.changes)}, MAPPED) == []


def test_mastering_data_alone_make_a_picture_hdr(tmp_path: Path) -> None:
    light = "master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1):max-cll=1000,400"
    codec = ["-c:v", "libx265", "-preset", "ultrafast", "-x265-params", f"log-level=none:{light}"]
    no_vui = ["-bsf:v", "hevc_metadata=transfer_characteristics=2:colour_primaries=2:matrix_coefficients=2"]
    path = hdr_file(tmp_path / "v.ts", PQ, codec=[*codec, *no_vui, "-pix_fmt", "yuv420p10le"])
    for config in (CONFIG, MAPPED):
        _, look = cut(path, config)
        # which function it was is not known, so it is not mapped
        assert (look.transfer, look.changes) == ("unknown-hdr", ())
        assert "hdr" in flags_of(BLACK | {"transfer": look.transfer, "changes": []}, config)


def test_plain_pictures_are_not_tone_mapped(tmp_path: Path) -> None:
    picture = painted(PATCHES.astype(np.uint8))
    tags = "format=yuv420p,setparams=color_trc=bt709:color_primaries=bt709"
    path = encoded(tmp_path / "v.mp4", picture, "-vf", f"scale=out_color_matrix=bt709,{tags}", *X264)
    found, look = cut(path, MAPPED)
    assert worst(found) <= 6
    assert (look.transfer, look.changes) == ("bt709", ())


def test_a_clip_that_is_hdr_in_part_is_hdr(tmp_path: Path) -> None:
    config = ClipConfig(seconds=4, fps=8)
    picture = painted(PATCHES.astype(np.uint8))
    encoded(tmp_path / "0.ts", picture, *X264, "-pix_fmt", "yuv420p10le")
    hdr_file(tmp_path / "1.ts", PQ)
    listed = tmp_path / "parts.txt"
    listed.write_text("file 0.ts\nfile 1.ts\n")
    run_ffmpeg("-f", "concat", "-i", listed, "-c", "copy", tmp_path / "joined.ts")
    [window] = list(open_video(tmp_path / "joined.ts", config).windows())
    assert window.look.transfer == PQ


def test_tone_mapping_keeps_black_and_order_and_ends_at_white() -> None:
    for transfer in (PQ, HLG):
        greys = np.linspace(0, 65535, 300).astype(np.uint16)
        shown = tone_map(np.repeat(greys[None, :, None], 3, axis=2), transfer, 9)
        assert (np.diff(shown[0, :, 0].astype(int)) >= 0).all()
        assert (shown[0, 0].tolist(), shown[0, -1].tolist()) == ([0] * 3, [255] * 3)
        # neutral stays neutral, up to the rounding of the primaries
        assert np.abs(shown[0].astype(int) - shown[0, :, :1]).max() <= 1


@real_cases
def test_the_real_hdr_file_has_the_red_that_it_has_in_sdr() -> None:
    assert CASES is not None
    path = Path(CASES) / "hdr_pq_hevc_main10.mp4"
    window = next(iter(open_video(path, MAPPED).windows()))
    assert np.abs(window.frames[0][2, 2].astype(int) - (220, 20, 20)).max() <= 20
    assert next(iter(open_video(path, CONFIG).windows())).look == ClipLook(PQ, ())
