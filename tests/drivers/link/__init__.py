"""Tests of drivers/link: published vectors, sizes, round trips, hostile bytes, the same bytes on three interpreters."""
