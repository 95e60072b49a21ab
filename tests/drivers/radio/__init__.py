"""Tests of drivers/radio."""
