"""New frame keys for a node at work: the epoch is closed, and the next has keys of its own.

Loaded when it is time to look, some twice a day, and forgotten after. The keys turn after so many frames or days, once
nearly all is sent; at twice the frames whatever waits. No reading does: what the gateway has not acknowledged goes on
in the new epoch's frames, which say whose it is. A cut anywhere leaves either epoch: a start closes what was closed
half-way. The gateway takes the old keys until the first frame under the new ones.
"""

from drivers.constant import const
from firmware.forget import forget

_LOOK_S = const(43_200)
_MOST_BETWEEN = const(256)  # frames
_MOST_HELD = const(16)  # reports: they fit a frame or two of the new epoch
_DAY_S = const(86_400)


def turn(node):
    """Turn to the next epoch if it is time, and say when to look again. Raises SettingsError."""
    parts = node.parts
    settings, state, config = parts.settings, parts.state, parts.config
    counter, utc_s = settings.turned
    frames = settings.next_counter - counter
    now_s = state.began_s and state.began_s + parts.uptime.seconds()
    is_due = frames >= config.rekey_frames or (now_s and utc_s and abs(now_s - utc_s) >= config.rekey_days * _DAY_S)
    if is_due and parts.archive.count_held() > _MOST_HELD and frames < 2 * config.rekey_frames:
        settings.look_at = settings.next_counter + 1
    else:
        run = parts.archive.current()
        if is_due or (now_s and not utc_s):
            _note(settings, now_s, is_due)
        if is_due:
            _go_on(parts, settings, run)
        between = min(max(_LOOK_S // parts.report_s, 1), _MOST_BETWEEN, config.rekey_frames)
        settings.look_at = settings.next_counter + between
    forget("firmware.turn", "firmware.forget")


def _note(settings, now_s, is_due):
    """In NVS: this epoch is closed and the next opened, or only when this one began."""
    from firmware.epochs import close, note_turned, open_epoch

    if is_due:
        close(settings, settings.epoch, settings.next_seq, is_known=True)
        open_epoch(settings, settings.epoch + 1)
    if now_s:
        note_turned(settings, settings.turned[0], now_s)
    del close, note_turned, open_epoch
    forget("firmware.epochs")


def _go_on(parts, settings, run):
    """In memory: nothing is left of a run that was sent whole, and frames are sealed anew."""
    state = parts.state
    if run is not None and run.base >= run.end:
        parts.archive.skip_unreadable(run)
    state.is_acked = state.unanswered = state.acked_counter = state.acked_seq = 0
    reporter = parts.reporter
    reporter.sent.clear()
    reporter.urgent.clear()
    has_keys = hasattr(parts.bearer, "keys")  # a bearer that asks for beacons
    reporter.up = reporter.down = None  # 128 KiB hold one pair
    if has_keys:
        parts.bearer.keys = None
    from drivers.link.keys import seals_of

    reporter.up, reporter.down = seals_of(settings.key, settings.epoch)
    if has_keys:
        parts.bearer.keys = settings, reporter.up, reporter.down
    del seals_of
    forget("drivers.link.keys")
    print("lamppost: new frame keys, epoch %d" % settings.epoch)
