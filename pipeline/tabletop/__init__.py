"""A simulated table top: a pusher among boxes, discs, ropes and soft blobs, recorded as episodes with true actions.

`things` are what lies on a table and `table` moves them (both need pymunk, the extra `robotics`), `hand` decides what
the pusher does, `draw` makes pictures of it with numpy, and `record` writes episodes as a folder that the source
`folder:DIR` reads. `look` has what a picture shows, without the physics.
"""
