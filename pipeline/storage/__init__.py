"""The store: Delta tables and immutable blobs, their schemas, the local home, tombstones of takedowns."""
