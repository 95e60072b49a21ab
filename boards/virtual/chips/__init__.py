"""Chips as their datasheets describe them: registers, frames, timing, behind SPI, I2C, UART; apart from any driver."""
