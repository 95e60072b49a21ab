"""Tests of drivers/sensor."""
