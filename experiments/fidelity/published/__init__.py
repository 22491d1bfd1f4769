"""Published tables that the model is held against: one file a target, found by scanning this package."""
