"""Ways out: one file per platform behind one small protocol; the forwarder moves the cursor."""
