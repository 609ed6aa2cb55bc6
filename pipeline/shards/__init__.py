"""Curated clips into WebDataset shards: splits, plan, writer and reader."""
