"""Directories: the sources of lists."""
