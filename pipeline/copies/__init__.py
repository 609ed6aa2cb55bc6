"""Copies of clips: signatures that follow a clip's motion, candidates among millions, and the proof of a copy.

Nothing here knows tables or files: arrays in, arrays out. `pipeline.clips.duplicates` applies it to a store.
"""
