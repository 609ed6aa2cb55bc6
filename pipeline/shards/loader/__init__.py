"""From shards to windows of frames: a seeded order, worker processes that decode ahead, resume in the middle.

    windows = WindowSource(shard_clips(store, version, "train"), store=store, keep_clips=64, workers=4)
    loader = windows.loader(OrderSettings(seed=0, batch=8, window=16))
    video_BTHWC, places = next(loader)          # uint8
    saved = loader.state()                      # JSON-able; `windows.loader(settings, state=saved)` goes on from there

clips.py      the clips of a set, a tar at a time: nothing is read before its turn comes
starts.py     where a window of a clip may start: never across a scene cut
order.py      the order of windows: from seed, epoch and tars alone, whatever the number of workers or ranks
decode.py     bytes of a clip to frames of its windows: only the pictures that are needed
arena.py      frames in memory that processes share
local.py      decoding in this process; small sets keep their decoded clips
workers.py    decoding ahead in worker processes
tally.py      samples that cannot be used, and clips without a window
loader.py     batches
source.py     what a training asks: size of the frames, windows spread over the set, loaders
"""
