"""The board without hardware: interpreter host, chip models, and the air between them."""
