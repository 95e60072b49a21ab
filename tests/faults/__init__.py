"""Fault campaigns: kills, power cuts, and disks that forget what was not synced. The shipped code runs unchanged."""
