"""The site registry: one append-only signed log per writer, and the state of the site folded from all of them.

Read statement (what can be said), site and fold (what it amounts to), logfile and writer (how it is kept), index
(how it is found), registry and opening (put together), bundle (how it travels).
"""
