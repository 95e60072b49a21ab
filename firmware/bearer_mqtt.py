"""The MQTT bearer: sealed frames over Wi-Fi, at QoS 0 to n/<address>/up; answers come on n/<address>/down.

The same contract as bearer_lora. The connection is made when a frame is to go out, and kept while it works.
"""

import hashlib

from drivers.constant import const
from firmware.bearer_error import BearerError
from firmware.mqtt import MqttClient, MqttError

_MAX_FRAME = const(255)


class MqttBearer:
    """Sends sealed frames to a gateway's listener, or to a broker that the gateway reads from."""

    scan_ms = 0

    def __init__(self, wlan, wifi, mqtt, uptime, clock, settings, *, keepalive_s):
        """wlan: a network.WLAN of the station interface. wifi, mqtt: those sections of the configuration."""
        self._wlan = wlan
        self._wifi = wifi
        self._mqtt = mqtt
        self._uptime = uptime
        self._clock = clock
        self._client = None
        self._heard_at_s = 0
        self._keepalive_s = keepalive_s
        self._topic = "n/%04x/" % settings.address
        node_hash = hashlib.sha256(settings.node_id.encode()).digest()
        self._client_id = "n-%04x-%s" % (settings.address, node_hash[:4].hex())
        self.max_frame = _MAX_FRAME
        self.counters = {"connections": 0, "connections_lost": 0}

    async def start(self):
        """Nothing before the first frame: without Wi-Fi the node measures all the same."""

    def wait_s(self):
        """A wire has no duty cycle."""
        return 0

    async def ready(self):
        """Be connected. Raises BearerError."""
        if self._client is not None:
            return
        await self._join_wifi()
        client = MqttClient()
        mqtt = self._mqtt
        try:
            await client.connect(
                mqtt.host,
                mqtt.port,
                self._client_id,
                keepalive_s=self._keepalive_s,
                user=mqtt.user,
                password=mqtt.password,
            )
            await client.subscribe(self._topic + "down")
        except MqttError as error:
            await client.close()
            raise BearerError("MQTT: %s:%d: %s; check mqtt.host and the gateway" % (mqtt.host, mqtt.port, error))
        self._client = client
        self._heard_at_s = self._uptime.seconds()
        self.counters["connections"] += 1

    async def is_clear(self):
        """A wire is."""
        return True

    async def exchange(self, frame, take, again=None):
        """Publish, then wait for the answer. Returns whether take(downlink) accepted something. Raises BearerError.

        again  is for a bearer that loses frames (bearer_lora)
        """
        try:
            await self._client.publish(self._topic + "up", frame)
            answered = await self._listen(take)
            if not answered:
                await self._client.ping()  # is it the gateway that is silent, or has the connection died?
            return answered
        except MqttError as error:
            await self._drop()
            raise BearerError("MQTT: %s" % error)

    async def rest(self):
        """Keep the connection up between frames; a dead one is noticed here."""
        if self._client is None or self._uptime.seconds() - self._heard_at_s < self._keepalive_s // 2:
            return
        try:
            await self._client.ping()
            self._heard_at_s = self._uptime.seconds()
        except MqttError:
            await self._drop()

    async def _listen(self, take):
        started_ms = self._clock.ticks_ms()
        left_ms = limit_ms = self._mqtt.ack_s * 1000
        while left_ms > 0:
            message = await self._client.next_message(left_ms)
            if message is None:
                return False
            self._heard_at_s = self._uptime.seconds()
            if message and take(message):
                return True
            left_ms = limit_ms - self._clock.ticks_diff(self._clock.ticks_ms(), started_ms)
        return False

    async def _drop(self):
        client, self._client = self._client, None
        self.counters["connections_lost"] += 1
        if client is not None:
            await client.close()

    async def _join_wifi(self):
        wlan, wifi = self._wlan, self._wifi
        if wlan.isconnected():
            return
        try:
            wlan.active(True)
            wlan.connect(wifi.ssid, wifi.password)
        except OSError as error:
            raise BearerError("Wi-Fi: %s" % error)
        for _ in range(wifi.connect_s * 10):
            if wlan.isconnected():
                return
            await self._clock.sleep_ms(100)
        wlan.disconnect()
        raise BearerError("Wi-Fi: no connection to %r in %d s; check wifi.ssid and range" % (wifi.ssid, wifi.connect_s))
