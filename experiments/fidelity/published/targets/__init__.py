"""Published tables, one file each: what was measured, and the runs that repeat it."""
