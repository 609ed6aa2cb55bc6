"""The training shards as tokens of the frozen tokenizer: `pipeline.tokens` holds their files."""
