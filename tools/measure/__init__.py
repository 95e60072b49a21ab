"""What measurements of a whole gateway share: a load, a city, the tally between them, and the kernel's view of a process.

The load and the city are processes of their own on raw sockets. Neither knows what stands between them.
"""
