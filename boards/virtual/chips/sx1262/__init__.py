"""SX1262 radio as its data sheet (DS.SX1261-2.W.APP) describes it: SPI commands, registers, modes, errata, the air.

Read chip (pins and SPI), commands (what each opcode does), radio (modes and events), receiver, front_end, errata.
"""
