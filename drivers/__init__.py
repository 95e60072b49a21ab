"""Chips, radio and link: the same files on MicroPython and CPython. They import nothing else of ours."""
