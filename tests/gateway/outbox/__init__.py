"""Tests of the record log and of what is built on it."""
