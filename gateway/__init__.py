"""The gateway: takes frames from air and MQTT, keeps readings on disk, delivers them to the city. Start at run."""
