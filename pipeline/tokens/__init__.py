"""Token shards: the windows of the training shards as tokens of the frozen tokenizer, and their removal."""
