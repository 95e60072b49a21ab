"""Ways in: LoRa, MQTT, and the gateway's own sensors."""
