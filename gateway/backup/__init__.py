"""Back-ups of a gateway: what it knows, without any key. Read archive (the file), saving, restoring.

A restored gateway is a new one with an old memory: it has keys of its own, which the site's authority has to issue, a
log of its own in the registry, and an epoch of its own for its records. So nothing that the old one used can come
again, also if the old one runs on beside it.
"""
