"""What measurements of a whole gateway share: a load, a city, the tally between them, and what the kernel counts.

The load and the city are processes of their own on raw sockets. Neither knows what stands between them.
"""
