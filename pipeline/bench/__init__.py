"""Benchmarks of the data path: acquisition beside bare yt-dlp, the start of a batch in a large store, copies."""
