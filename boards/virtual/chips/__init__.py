"""Chips as their datasheets describe them: registers, frames and timing behind SPI, I2C and UART, apart from any driver."""
