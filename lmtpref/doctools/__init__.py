"""What runs and renders documents with transcripts in them."""
