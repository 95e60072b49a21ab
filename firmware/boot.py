"""Runs at each reset, before main.py and before mpremote takes over: nothing here may wait, fail or hide the REPL."""
