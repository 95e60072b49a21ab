"""Tests of the drivers: tables on both interpreters, and the radio driver against the chip model."""
