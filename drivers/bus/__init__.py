"""The bus contract: the method names of `machine` that our drivers use, and no others, so that a node needs no adapter.

SPI   write_readinto(out, back)      both of one length, may be the same buffer; NSS is the driver's
Pin   value() -> 0 or 1, value(level)
I2C   writeto(addr, bytes), readfrom_into(addr, buf); OSError if the address does not answer
UART  any() -> bytes waiting, read(n) -> bytes or None, write(bytes)
ADC   read_uv() -> microvolts

linux has them on a Raspberry Pi's own buses, remote on a virtual board in another process.
"""
