"""Count clips by video, a part at a time, in columns."""

from __future__ import annotations

import pyarrow as pa

from pipeline.storage.arrow import Column, pc, rows_without, total

_LEAST_ROWS = 1 << 17


class ClipsByVideo:
    """How many clips each video has, counted a part at a time: a Python set of a million ids would take 100 MB."""

    def __init__(self) -> None:
        self._parts = [pa.table({"video_id": pa.array([], pa.string()), "clips": pa.array([], pa.int64())})]
        self._rows = 0

    def add(self, video_ids: Column) -> None:
        """Count the clips of a part by their videos."""
        found = pc.value_counts(video_ids)
        self._parts.append(pa.table({"video_id": found.field("values"), "clips": found.field("counts")}))
        self._rows += len(found)
        # of a table in no order, each part names many of the same videos
        if self._rows > max(_LEAST_ROWS, len(self._parts[0])):
            self._parts, self._rows = [self._summed()], 0

    def videos(self) -> Column:
        """Return the ids of the videos, each once."""
        return self._summed()["video_id"].combine_chunks()

    def num_without(self, videos: Column) -> int:
        """Return the number of clips of all other videos than these."""
        return total(rows_without(self._summed(), "video_id", videos)["clips"])

    def _summed(self) -> pa.Table:
        sums = pa.concat_tables(self._parts).group_by("video_id").aggregate([("clips", "sum")])
        return sums.rename_columns({"clips_sum": "clips"}).select(["video_id", "clips"])
