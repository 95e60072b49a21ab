"""The tools that measure."""
