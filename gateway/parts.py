"""The parts of the gateway that gateway.toml asks for, made and wired. What they do is in their own modules."""

from collections.abc import Callable, Coroutine, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

from gateway.city.compress import Compressor
from gateway.city.delivery import Options
from gateway.city.forwarder import Forwarder
from gateway.city.mqtt import MqttCity, encoded
from gateway.city.operator import Operators
from gateway.clock import ClockTrust
from gateway.config import CityConfig, Config, MqttSouthbound, SyncConfig
from gateway.core import Core
from gateway.edge.actions import Actions
from gateway.endpoint import Endpoint
from gateway.identity.chain import ChainFile
from gateway.mqtt.access import AccessList
from gateway.mqtt.client import ClientOptions
from gateway.mqtt.connection import Limits
from gateway.registry.bundle import LARGEST_ITEM
from gateway.registry.lan_sync import LanSync
from gateway.registry.mqtt_sync import MqttSync
from gateway.southbound.beacons import Beacons
from gateway.southbound.lora import LoraRadio
from gateway.southbound.mqtt import BrokerSubscription, IngestListener
from gateway.southbound.sensor import GatewaySensor
from gateway.tls import client_context, read_password, server_context
from gateway.validity import dated_by_us

_BROKER_SESSION_S = 7 * 86_400


@dataclass(frozen=True, kw_only=True)
class Part:
    """Something that runs until cancelled and can say how it is."""

    name: str
    run: Callable[[], Coroutine[Any, Any, None]]
    status: Callable[[], Mapping[str, object]]


async def open_southbound(config: Config, core: Core, stack: AsyncExitStack) -> list[Part]:
    """What hears nodes and devices. The listener is bound when this returns; `stack` closes it."""
    parts = []
    mqtt, lora = config.southbound.mqtt, config.southbound.lora
    if mqtt and mqtt.listen_endpoint:
        listener = await stack.enter_async_context(_listener(mqtt, mqtt.listen_endpoint, core))
        parts.append(Part(name="southbound.listen", run=listener.run, status=listener.status))
        core.publishers.append(listener.publish)
    if mqtt and mqtt.broker_endpoint:
        options = _broker_options(mqtt, mqtt.broker_endpoint, config.gateway.id, core.clock)
        broker = BrokerSubscription(
            core.intake,
            options,
            count=core.counters.add,
            sealed_only=mqtt.sealed_only,
            now_s=core.clock.stamp_s,
        )
        parts.append(Part(name="southbound.broker", run=broker.run, status=broker.status))
        core.publishers.append(broker.publish)
    if lora:
        if lora.beacon_s:
            core.beacons = ChainFile(config.gateway.data_dir, interval_s=lora.beacon_s, boot_id=core.clock.boot_id)
        radio = LoraRadio(
            lora,
            core.intake,
            data_dir=config.gateway.data_dir,
            count=core.counters.add,
            now_s=core.clock.stamp_s,
            beacons=Beacons(core.beacons, core.clock, count=core.counters.add) if core.beacons else None,
            knows=lambda address: bool(core.nodes.candidates(address)),
        )
        parts.append(Part(name="southbound.lora", run=radio.run, status=radio.status))
    if core.trust.keeper is not None:
        keeper = core.trust.keeper
        parts.append(Part(name=keeper.name, run=keeper.run, status=keeper.status))
        if config.sync is not None:
            sync = MqttSync(
                keeper.registry,
                _sync_options(config.sync, config.gateway.id, core.clock),
                topic=config.sync.topic.replace("{site}", config.gateway.site),
                told=keeper.told,
            )
            parts.append(Part(name=sync.name, run=sync.run, status=sync.status))
        if config.lan is not None:
            lan = LanSync(keeper.registry, config.lan, told=keeper.told, count=core.counters.add)
            parts.append(Part(name=lan.name, run=lan.run, status=lan.status))
    for at, one in enumerate(config.sensor):
        sensor = GatewaySensor(one, core.intake, count=core.counters.add)
        parts.append(Part(name=f"sensor[{at}]", run=sensor.run, status=sensor.status))
    return parts


def edge_actions(config: Config, core: Core) -> Actions:
    """What alarms do on the spot, told of them by the core from now on."""
    actions = Actions(
        config.edge.action,
        core.edge,
        is_admitted=core.is_admitted,
        publish=core.publish,
        count=core.counters.add,
        now_s=core.clock.now_s,
    )
    core.on_alarm(actions.react)
    return actions


def city_parts(config: Config, core: Core) -> list[Part]:
    """What delivers: for each platform its session and its forwarder."""
    parts = []
    for at, one in enumerate(config.city):
        city = MqttCity(
            _city_options(one, f"city[{at}]", config.gateway.id, core.clock),
            topic=one.topic.replace("{gateway}", config.gateway.id),
            site=config.gateway.site,
            name=one.name,
            content="cbor" if one.content == "cbor" else "json",
            operators=_operators(one, config, core),
        )
        forwarder = Forwarder(
            core.outbox,
            city,
            city_name=one.name,
            count=core.counters.add,
            options=_delivery_options(one),
            compressor=Compressor() if one.compress == "zstd" else None,
        )
        parts.append(Part(name=f"city.{one.name}.session", run=city.run, status=city.status))
        parts.append(Part(name=f"city.{one.name}", run=forwarder.run, status=forwarder.status))
    return parts


def _operators(city: CityConfig, config: Config, core: Core) -> Operators | None:
    if city.operator_topic is None:
        return None
    site, gateway = encoded(config.gateway.site), encoded(config.gateway.id)
    topic = city.operator_topic.replace("{site}", site).replace("{gateway}", gateway)
    return Operators(topic, city=city.name, acknowledge=core.clockwork.acknowledge, count=core.counters.add)


def _listener(mqtt: MqttSouthbound, endpoint: Endpoint, core: Core) -> IngestListener:
    tls = None
    if endpoint.is_tls and mqtt.cert_file and mqtt.key_file:
        tls = dated_by_us(
            server_context(
                "southbound.mqtt",
                cert_file=mqtt.cert_file,
                key_file=mqtt.key_file,
                client_ca_file=mqtt.client_ca_file,
            )
        )
    access = AccessList.load(mqtt.access_file) if mqtt.access_file else None
    return IngestListener(
        core.intake,
        endpoint,
        count=core.counters.add,
        access=access,
        tls=tls,
        allow_plaintext=mqtt.allow_plaintext,
        max_frames_per_s=mqtt.max_frames_per_s,
        now_s=core.clock.stamp_s,
        clock=core.clock,
        certificate_devices=core.trust.certificate_devices,
    )


def _broker_options(mqtt: MqttSouthbound, endpoint: Endpoint, gateway_id: str, clock: ClockTrust) -> ClientOptions:
    place = "southbound.mqtt"
    tls = None
    if endpoint.is_tls:
        tls = dated_by_us(
            client_context(
                place,
                ca_file=mqtt.broker_ca_file,
                cert_file=mqtt.broker_cert_file,
                key_file=mqtt.broker_key_file,
                prefix="broker_",
            )
        )
    password = mqtt.broker_password_file
    return ClientOptions(
        endpoint=endpoint,
        client_id=f"lamppost-{gateway_id}-southbound",  # fixed: the broker keeps our queue under this name
        clean_start=False,
        session_expiry_s=_BROKER_SESSION_S,
        username=mqtt.broker_username,
        password=read_password(f"{place}.broker_password_file", password) if password else None,
        tls=tls,
        clock=clock,
    )


def _delivery_options(city: CityConfig) -> Options:
    return Options(
        require_subscriber=city.require_subscriber,
        pack_records=city.pack_records,
        pack_bytes=city.pack_bytes,
        pack_wait_s=city.pack_wait_ms / 1000,
        backlog_records_per_s=city.backlog_records_per_s,
        backlog_bytes_per_s=city.backlog_bytes_per_s,
    )


def _sync_options(sync: SyncConfig, gateway_id: str, clock: ClockTrust) -> ClientOptions:
    tls = None
    if sync.endpoint.is_tls:
        tls = dated_by_us(
            client_context("sync", ca_file=sync.ca_file, cert_file=sync.cert_file, key_file=sync.key_file)
        )
    return ClientOptions(
        endpoint=sync.endpoint,
        client_id=f"lamppost-{gateway_id}-sync",
        username=sync.username,
        password=read_password("sync.password_file", sync.password_file) if sync.password_file else None,
        tls=tls,
        limits=Limits(max_packet_size=LARGEST_ITEM + 1024),
        clock=clock,
    )


def _city_options(city: CityConfig, place: str, gateway_id: str, clock: ClockTrust) -> ClientOptions:
    tls = None
    if city.endpoint.is_tls:
        tls = dated_by_us(client_context(place, ca_file=city.ca_file, cert_file=city.cert_file, key_file=city.key_file))
    return ClientOptions(
        endpoint=city.endpoint,
        client_id=f"lamppost-{gateway_id}-{city.name}",
        keep_alive_s=city.keep_alive_s,
        ack_timeout_s=city.ack_timeout_s,
        username=city.username,
        password=read_password(f"{place}.password_file", city.password_file) if city.password_file else None,
        tls=tls,
        clock=clock,
    )
