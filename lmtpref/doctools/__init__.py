"""Tools that run and render documents with transcripts in them."""
