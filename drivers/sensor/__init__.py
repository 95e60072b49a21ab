"""One sensor chip per file."""
