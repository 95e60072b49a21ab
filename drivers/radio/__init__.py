"""The LoRa radio: chip driver, time on air, and what a region allows."""
