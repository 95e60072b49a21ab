"""The small bus contract (method names of machine.I2C, SPI, Pin, UART) and its Linux and remote sides."""
