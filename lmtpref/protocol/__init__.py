"""RFC 2033 and what it builds on: no I/O, no clock, no threads, no lists."""
