"""Enrolment and what is put on a node."""
