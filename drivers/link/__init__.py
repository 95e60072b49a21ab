"""The wire: frame, keys, seal, pack, ack. No I/O and no clock; docs/protocol.md is the same in words."""
