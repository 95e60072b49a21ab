"""Commands to nodes: what can be asked of one, what waits for its next frame, what came of it. Wire: drivers/link."""
