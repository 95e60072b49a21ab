"""`const`, on both interpreters: `_NAME = const(1)` costs a node no memory, the MicroPython compiler folds it.

Such a name must begin with an underscore and stand above its first use, and no other module can import it.
"""

# pyright: reportAssignmentType=false

try:
    from micropython import const
except ImportError:

    def const(value):
        """On CPython a constant is itself."""
        return value
