"""Frames into a file as sites serve them: H.264 in MP4 or VP9 in WebM, with or without sound, one thread.

One thread and bit-exact headers: the same frames give the same bytes on every run and with any number of workers.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import ffmpeg
import imageio_ffmpeg
import numpy as np
import numpy.typing as npt
from PIL import Image

from pipeline.arcade.catalog import Recording
from pipeline.arcade.platformer_art import Picture

SAMPLE_RATE = 22050
_CLIP_FPS = 10  # frames that a 10 FPS clip shows are never dropped from a variable-rate recording
_CLOCK = 90000
_VIDEO = {
    # ultrafast keeps the flat colours of drawn games as well as slower presets and takes a third less time
    "h264": ("libx264", {"preset": "ultrafast"}),
    "vp9": ("libvpx-vp9", {"deadline": "realtime", "cpu-used": "8", "b": "0"}),
}
_CONTAINER = {"mp4": {"movflags": "+faststart", "fflags": "+bitexact"}, "webm": {"fflags": "+bitexact"}}


# RGB to Y'CbCr (BT.601, limited range), 8 bits
_LUMA = np.array([65.481, 128.553, 24.966], np.float32) / 255
_CHROMA = np.array([[-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]], np.float32).T / 255


def to_yuv(frame: Picture, width: int, height: int) -> npt.NDArray[np.uint8]:
    """Return a frame at a size as the planes of yuv420p (uint8, (height * 3 / 2, width)).

    Even multiples repeat pixels, and each pixel then owns its colour samples: 43 dB after decoding at 320x180, where
    the usual conversion gives 35 (it blends colours of neighbours) and takes longer.
    """
    rows, columns = frame.shape[:2]
    times = height // rows
    exact = times % 2 == 0 and (rows * times, columns * times) == (height, width)
    if not exact and (rows, columns) != (height, width):
        frame = np.asarray(Image.fromarray(frame).resize((width, height), Image.Resampling.BILINEAR))
    pixels = frame.astype(np.float32)
    luma = (pixels @ _LUMA + 16.5).astype(np.uint8)
    if exact:
        chroma = (pixels @ _CHROMA + 128.5).astype(np.uint8)
        luma = luma.repeat(times, 0).repeat(times, 1)
        chroma = chroma.repeat(times // 2, 0).repeat(times // 2, 1)
    else:
        # whole numbers: the same mean as over two axes of blocks, in a twelfth of the time
        rows_NWC = pixels[::2] + pixels[1::2]
        blocks = (rows_NWC[:, ::2] + rows_NWC[:, 1::2]) * np.float32(0.25)
        chroma = (blocks @ _CHROMA + 128.5).astype(np.uint8)
    planes = chroma.transpose(2, 0, 1).reshape(height // 2, width)
    return np.concatenate([luma, planes])


def encode_recording(frames: Iterable[Picture], recording: Recording, path: Path) -> int:
    """Write frames of any size as the file that a recording describes, and return how many it holds.

    Args:
        frames: uint8 RGB (H, W, 3), at the recording's nominal rate; each stays as it is when the next one comes.
        recording: size, codec, quality, sound, constant or variable rate.
        path: written as it goes; the caller renames it when this returns.
    """
    codec, options = _VIDEO[recording.codec]
    drop = np.random.default_rng([recording.seed, 3])
    on_grid = recording.fps // _CLIP_FPS if recording.fps % _CLIP_FPS == 0 else 1
    written = 0
    before: Picture | None = None
    planes = np.empty(0, np.uint8)
    with av.open(str(path), "w", format=recording.extension, options=_CONTAINER[recording.extension]) as container:
        stream = container.add_stream(codec, rate=recording.fps, options={**options, "crf": str(recording.crf)})
        stream.width, stream.height, stream.pix_fmt = recording.width, recording.height, "yuv420p"
        stream.codec_context.time_base = Fraction(1, _CLOCK)
        stream.codec_context.gop_size = recording.fps * 5
        stream.thread_count = 1
        sound = _Sound(container, recording) if recording.audio else None
        for index, frame in enumerate(frames):
            if recording.variable_rate and index % on_grid and drop.random() < 0.4:
                continue
            # menus, pauses and cards stand still for most of their frames
            if before is None or not np.array_equal(frame, before):
                before, planes = frame, to_yuv(frame, recording.width, recording.height)
            picture = av.VideoFrame.from_ndarray(planes, format="yuv420p")
            picture.pts, picture.time_base = index * _CLOCK // recording.fps, Fraction(1, _CLOCK)
            container.mux(stream.encode(picture))
            written += 1
            # as it goes: a muxer holds back all of one stream until the other arrives
            if sound is not None and index % recording.fps == 0:
                sound.play_until(index / recording.fps + 1.0)
        container.mux(stream.encode())
        if sound is not None:
            sound.end()
    return written


class _Sound:
    """A square-wave tune from the recording's seed, as one mono stream."""

    def __init__(self, container: av.container.OutputContainer, recording: Recording) -> None:
        codec = "libopus" if recording.extension == "webm" else "aac"
        self._rate = 48000 if codec == "libopus" else SAMPLE_RATE
        self._container, self._seconds = container, recording.seconds
        self._stream = container.add_stream(codec, rate=self._rate, layout="mono")
        self._stream.bit_rate = 32000
        self._format = "flt" if codec == "libopus" else "fltp"
        self._notes = np.random.default_rng([recording.seed, 4]).integers(-12, 13, size=64)
        self._sample = 0

    def play_until(self, second: float) -> None:
        """Encode the tune up to a time, at most to the recording's end."""
        end = round(min(second, self._seconds) * self._rate)
        if end <= self._sample:
            return
        samples = _tune(self._notes, np.arange(self._sample, end), self._rate)
        frame = av.AudioFrame.from_ndarray(samples[None], format=self._format, layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = self._rate, self._sample, Fraction(1, self._rate)
        self._sample = end
        self._container.mux(self._stream.encode(frame))

    def end(self) -> None:
        """Encode what is left and flush."""
        self.play_until(self._seconds)
        self._container.mux(self._stream.encode())


def _tune(notes: npt.NDArray[np.int64], samples: npt.NDArray[np.int64], rate: int) -> npt.NDArray[np.float32]:
    """Return the tune's samples (float32, -1..1): eight notes a second of a square wave around 440 Hz."""
    seconds = samples / rate
    pitch = 440.0 * 2.0 ** (notes[(seconds * 8).astype(np.int64) % len(notes)] / 12.0)
    return (0.1 * np.sign(np.sin(2 * np.pi * pitch * seconds))).astype(np.float32)


def transcode(source: Path, target: Path, width: int, height: int) -> None:
    """Write a recording's pictures at another size, without sound, timestamps as they are.

    Raises:
        OSError: ffmpeg could not, with the end of what it said.
    """
    extension = source.suffix[1:]
    codec, options = _VIDEO["vp9" if extension == "webm" else "h264"]
    pictures = ffmpeg.input(str(source)).video.filter("scale", width, height)
    command = pictures.output(
        str(target), format=extension, vcodec=codec, pix_fmt="yuv420p", crf=26, threads=1, fps_mode="passthrough",
        **options, **_CONTAINER[extension],
    )  # fmt: skip
    try:
        command.overwrite_output().run(cmd=imageio_ffmpeg.get_ffmpeg_exe(), capture_stderr=True)
    except ffmpeg.Error as exc:
        said = exc.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise OSError(f"ffmpeg could not write {width}x{height} of {source.name}: {' '.join(said)}") from exc


def write_thumbnail(source: Path, target: Path, height: int = 180) -> None:
    """Write a frame from the middle of a video as a JPEG of some rows."""
    with av.open(str(source)) as container:
        stream = container.streams.video[0]
        middle = (container.duration or 0) // 2
        container.seek((container.start_time or 0) + middle)
        image = next(container.decode(stream)).to_image()
    image.resize((image.width * height // image.height, height), Image.Resampling.BILINEAR).save(
        target, "JPEG", quality=80
    )
