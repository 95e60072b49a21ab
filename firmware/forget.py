"""Takes modules out of memory that nobody needs any more: 128 KiB hold the application, but not all that starts it."""

import gc
import sys


def forget(*names):
    """Forget modules by name. A deleted entry of a dict keeps its value alive, so it is overwritten first."""
    for name in names:
        if name in sys.modules:
            sys.modules[name] = None  # pyright: ignore[reportArgumentType]
            del sys.modules[name]
            package, _, name = name.rpartition(".")
            setattr(sys.modules[package], name, None)
            delattr(sys.modules[package], name)
    gc.collect()
