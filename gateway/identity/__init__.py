"""Who is speaking, and is it fresh: enrolled nodes, sessions, sealing."""
