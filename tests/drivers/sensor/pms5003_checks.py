"""PMS5003 frames, good and bad, on both interpreters. Layout: Plantower PMS5003 data manual V2.3, appendix I."""

import struct

from drivers.sensor.pms5003 import FrameParser


def frame(pm1=5, pm2_5=12, pm10=20):
    """A data frame; the factory ("CF=1") words differ from the atmospheric ones."""
    head = b"\x42\x4d" + struct.pack(">14H", 28, 901, 902, 903, pm1, pm2_5, pm10, 1100, 300, 50, 5, 2, 1, 0x9700)
    return head + struct.pack(">H", sum(head))


def feed(data, parser=None):
    """What the parser makes of `data`, and the parser."""
    parser = parser or FrameParser()
    return [values for values in (parser.feed(byte) for byte in data) if values is not None], parser


def the_atmospheric_words_are_read():
    assert feed(frame(5, 12, 20))[0] == [(5, 12, 20)]
    assert feed(frame(0, 1000, 65535))[0] == [(0, 1000, 65535)]


def a_stream_cut_anywhere_gives_the_next_whole_frame():
    stream = frame(1, 2, 3) + frame(4, 5, 6)
    for cut in range(1, 32):
        assert feed(stream[cut:])[0] == [(4, 5, 6)], cut


def noise_between_frames_is_skipped():
    for noise in (
        b"\x42",
        b"\x42\x4d",
        b"\x42\x42\x4d",
        b"\x42\x4d\x00",
        b"\x42\x4d\x00\x04\xe1\x00\x01\x74",
        bytes(40),
    ):
        assert feed(noise + frame())[0] == [(5, 12, 20)], noise


def every_flipped_bit_is_noticed():
    good = frame()
    for at in range(32):
        for bit in range(8):
            bad = bytearray(good)
            bad[at] ^= 1 << bit
            assert feed(bad)[0] == [], (at, bit)


def a_wrong_checksum_is_counted_and_the_next_frame_read():
    bad = bytearray(frame())
    bad[12] ^= 1
    readings, parser = feed(bytes(bad) + frame())
    assert readings == [(5, 12, 20)]
    assert parser.frames_garbled == 1


def a_frame_that_starts_inside_a_broken_one_is_found():
    assert feed(frame()[:20] + frame(7, 8, 9))[0] == [(7, 8, 9)]


CHECKS = (
    the_atmospheric_words_are_read,
    a_stream_cut_anywhere_gives_the_next_whole_frame,
    noise_between_frames_is_skipped,
    every_flipped_bit_is_noticed,
    a_wrong_checksum_is_counted_and_the_next_frame_read,
    a_frame_that_starts_inside_a_broken_one_is_found,
)
