"""What rules carry through deep sleep comes back to the same boot and configuration only. Run by test_rules."""

from firmware.carried import restore, save
from firmware.rtc import COPY_LEN

IMAGE = bytearray(b"\x55" * (2 * COPY_LEN))


def what_was_carried_comes_back_and_the_rest_of_the_image_stays():
    image = save(IMAGE, 3, 0xFEEDBEEF, [[1, -2], [1 << 40]])
    assert image[: 2 * COPY_LEN] == IMAGE
    states = [[0, 0], [0]]
    assert restore(image, 3, 0xFEEDBEEF, states)
    assert states == [[1, -2], [1 << 40]]
    assert len(save(image, 3, 1, [[1]])) < len(image)


def another_boot_configuration_size_or_a_flipped_bit_leaves_the_states_alone():
    image = save(IMAGE, 3, 7, [[1, 2]])
    flipped = bytearray(image)
    flipped[-6] ^= 1
    for spoilt, boot, mark, states in (
        (image, 4, 7, [[0, 0]]),
        (image, 3, 8, [[0, 0]]),
        (image, 3, 7, [[0, 0, 0]]),
        (image[:-1], 3, 7, [[0, 0]]),
        (IMAGE, 3, 7, [[0, 0]]),
        (flipped, 3, 7, [[0, 0]]),
    ):
        before = [list(state) for state in states]
        assert not restore(spoilt, boot, mark, states)
        assert states == before
