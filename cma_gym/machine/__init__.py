"""The machine: a stream of events driven through the memory model, stopping at every placement decision."""
