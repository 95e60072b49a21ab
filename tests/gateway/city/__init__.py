"""Delivering to the city: real brokers, broken links, refusals."""
