"""Compare detectors of scene cuts with what a person sees in screen recordings, in one run on the same frames.

`scene_cuts.json` holds the cuts of 26 recordings, seen by eye at 10 FPS: twelve of every kind, at which the thresholds
of our detector were set, and fourteen that were only looked at afterwards (`held_out`). A cut that a detector places
within a tenth of a second of a true one, or of its span where it takes some time, is found; each counts once. Intervals
are of a bootstrap over recordings, since the cuts of one recording are alike.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from pipeline.clips.cuts import CutDetector, detect_cuts
from pipeline.clips.decode import open_video
from pipeline.clips.encode import planes_of
from pipeline.clips.geometry import Frames
from pipeline.clips.samples import Planes
from pipeline.config import ClipConfig
from pipeline.errors import UserError
from pipeline.progress import ProgressCallback

TOLERANCE_S = 0.1
"""How far from a true cut a detector may place it: one frame at 10 FPS."""
_CLIPS = ClipConfig()
_PIECES = ClipConfig(seconds=2)  # all but the last two seconds of each recording
_RESAMPLES = 2000
_TRUTH = Path(__file__).with_name("scene_cuts.json")

Span = tuple[float, float]
"""A true cut: from the first second without the old picture to the first with the new one."""


@dataclass(frozen=True)
class Recording:
    """A recording with its true cuts."""

    path: Path
    cuts: list[Span]
    frames: Frames
    """(T, height, width, 3) at 10 FPS, as a clip has them."""
    planes: tuple[Planes, Planes]
    """What the encoder is given of them."""

    @property
    def seconds(self) -> float:
        """Length of its frames."""
        return len(self.frames) / _CLIPS.fps


Finder = Callable[[Recording], list[float]]
"""Returns the seconds at which a detector sees cuts in a recording."""


@dataclass(frozen=True)
class Score:
    """How one detector did on a set of recordings."""

    detector: str
    recordings: int
    found: int
    """True cuts that it found."""
    wrong: int
    """Cuts of it that are none."""
    missed: int
    """True cuts that it did not find."""
    interval: tuple[float, float]
    """Of F1, 95 %."""
    cpu_s_per_minute: float
    """CPU-seconds for a minute of video."""

    @property
    def precision(self) -> float:
        """Share of its cuts that are true."""
        return self.found / max(1, self.found + self.wrong)

    @property
    def recall(self) -> float:
        """Share of the true cuts that it found."""
        return self.found / max(1, self.found + self.missed)

    @property
    def f1(self) -> float:
        """Harmonic mean of both."""
        return _f1(self.found, self.wrong, self.missed)


def bench_cuts(
    folder: Path, held_out: bool, network: CutDetector | None, on_progress: ProgressCallback | None = None
) -> list[Score]:
    """Return the score of each detector on the recordings of a folder (`videos/v001.mp4`, ...).

    Args:
        folder: where the recordings are.
        held_out: take those that our thresholds were not set at.
        network: TransNetV2; None where it is not installed.
        on_progress: called with a sentence now and then.

    Raises:
        UserError: a recording, or PySceneDetect, is not there.
    """
    if find_spec("scenedetect") is None:
        raise UserError("PySceneDetect is not installed, which ours is compared with: run `pip install scenedetect`")
    finders: dict[str, Finder] = {
        "ours": by_clips(detect_cuts),
        "AdaptiveDetector, same frames": adaptive_on_frames,
        "AdaptiveDetector, file": adaptive_on_file,
    }
    if network is not None:
        finders["TransNetV2, same frames"] = by_clips(network)
    counts: dict[str, list[tuple[int, int, int]]] = {name: [] for name in finders}
    seconds, cpu_s = 0.0, dict.fromkeys(finders, 0.0)
    for recording in recordings(folder, held_out):
        if on_progress is not None:
            on_progress(recording.path.name)
        seconds += recording.seconds
        for name, find in finders.items():
            started = time.process_time()
            seen = find(recording)
            cpu_s[name] += time.process_time() - started
            counts[name].append(compare(recording.cuts, [at for at in seen if at < recording.seconds]))
    scores = []
    for name, each in counts.items():
        found, wrong, missed = (sum(part) for part in zip(*each, strict=True))
        scores.append(Score(name, len(each), found, wrong, missed, _interval(each), cpu_s[name] * 60 / seconds))
    return scores


def recordings(folder: Path, held_out: bool) -> Iterator[Recording]:
    """Yield the recordings of one of the two sets, one at a time."""
    for name, listed in true_cuts(held_out).items():
        path = folder / "videos" / name
        if not path.is_file():
            raise UserError(f"recording {str(path)!r} is not there: set LAMPWORKS_RECORDINGS to the folder of `videos`")
        frames = np.concatenate([frames for _, frames in open_video(path, _PIECES).clips()])
        length = len(frames) / _CLIPS.fps
        yield Recording(path, [span for span in listed if span[1] < length], frames, planes_of(frames))


def true_cuts(held_out: bool) -> dict[str, list[Span]]:
    """Return the true cuts by name of recording."""
    sets = json.loads(_TRUTH.read_text("utf-8"))
    return {
        name: [(cut[0], cut[1]) if isinstance(cut, list) else (cut, cut) for cut in cuts]
        for name, cuts in sets["held_out" if held_out else "recordings"].items()
    }


def compare(cuts: Sequence[Span], seen: Sequence[float]) -> tuple[int, int, int]:
    """Return how many true cuts were found, how many of those seen are none, and how many were missed."""
    left, found = sorted(seen), 0
    for start, stop in cuts:
        near = [at for at in left if start - TOLERANCE_S - 1e-6 <= at <= stop + TOLERANCE_S + 1e-6]
        if near:
            left.remove(near[-1])
            found += 1
    return found, len(left), len(cuts) - found


# -- detectors --------------------------------------------------------------------------------------------------------


def by_clips(detect: CutDetector) -> Finder:
    """Return a finder that asks about one clip after the other, as they are cut: what lies between two is not seen."""

    def find(recording: Recording) -> list[float]:
        luma, chroma = recording.planes
        found: list[float] = []
        for start in range(0, len(luma) - 15, _CLIPS.num_frames):
            clip = slice(start, start + _CLIPS.num_frames)
            found += [(start + frame) / _CLIPS.fps for frame in detect(luma[clip], chroma[clip], _CLIPS.fps)]
        return found

    return find


def adaptive_on_frames(recording: Recording) -> list[float]:
    """Return what PySceneDetect's AdaptiveDetector sees in our frames.

    Its shortest scene is half a second, which its default of 15 frames is at 30 FPS.
    """
    from scenedetect import FrameTimecode
    from scenedetect.detectors import AdaptiveDetector

    detector = AdaptiveDetector(min_scene_len=_CLIPS.fps // 2)
    found = []
    for index, frame in enumerate(recording.frames):
        found += detector.process_frame(
            FrameTimecode(index, float(_CLIPS.fps)), np.ascontiguousarray(frame[:, :, ::-1])
        )
    return [float(cut.seconds) for cut in found]


def adaptive_on_file(recording: Recording) -> list[float]:
    """Return what AdaptiveDetector sees in the file itself, as it comes: all frames, which it decodes with OpenCV."""
    from scenedetect import AdaptiveDetector, detect

    scenes = detect(str(recording.path), AdaptiveDetector())
    return [float(start.seconds) for start, _ in scenes[1:]]


# -- intervals --------------------------------------------------------------------------------------------------------


def _interval(counts: Sequence[tuple[int, int, int]]) -> tuple[float, float]:
    """Return the 95 % interval of F1 over recordings drawn with replacement."""
    table, rng = np.array(counts), np.random.default_rng(0)
    drawn = table[rng.integers(0, len(table), (_RESAMPLES, len(table)))].sum(axis=1)
    low, high = np.percentile([_f1(*map(int, row)) for row in drawn], [2.5, 97.5])
    return float(low), float(high)


def _f1(found: int, wrong: int, missed: int) -> float:
    return 2 * found / max(1, 2 * found + wrong + missed)
