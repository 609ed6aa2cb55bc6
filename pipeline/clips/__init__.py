"""Videos into clips: decode, cut, encode, features and near-duplicates."""
