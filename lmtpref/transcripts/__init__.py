"""Transcripts: C:/S: dialogues that are read, played and compared."""
