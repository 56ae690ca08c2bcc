"""Where accepted messages go: in memory, or in a spool."""
