"""MQTT 3.1.1 and 5: a codec without I/O, and on it a client and the ingest listener."""
