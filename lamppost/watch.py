"""`lamppost city watch`: what arrives at a city broker, through aiomqtt, a client that is not the gateway's."""

import argparse
import asyncio
import json
import ssl
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

import aiomqtt
import cbor2
import zstandard
from aiomqtt import Message

from gateway.endpoint import parse_endpoint
from gateway.errors import CityError
from gateway.tls import client_context, read_password

# RFC 8428 section 6: SenML labels in CBOR.
_LABELS = {-2: "bn", -3: "bt", -4: "bu", -5: "bv", -6: "bs", -1: "bver", 0: "n", 1: "u", 2: "v", 3: "vs", 4: "vb"}
_LABELS |= {5: "s", 6: "t", 7: "ut", 8: "vd"}
_MOST_BYTES = 1_048_576  # of one pack without its compression; a frame that claims more is not opened
_ABSOLUTE_FROM_S = 2**28  # RFC 8428 section 4.5.3: smaller times are relative to now


async def watch(client: aiomqtt.Client, topic: str, *, out: TextIO, as_json: bool, count: int | None = None) -> None:
    """Show each message, until `count` of them were seen (None: for ever)."""
    await client.subscribe(topic, qos=1)
    async for message in client.messages:
        seen = describe(message)
        for line in [json.dumps(seen)] if as_json else lines(seen):
            print(line, file=out, flush=True)
        if count is not None:
            count -= 1
            if count <= 0:
                return


def describe(message: Message) -> dict[str, Any]:
    """One message as plain data. What is no SenML is shown as it came."""
    payload = message.payload if isinstance(message.payload, bytes) else str(message.payload).encode()
    properties = message.properties
    content_type = getattr(properties, "ContentType", None)
    told = [list(pair) for pair in getattr(properties, "UserProperty", [])]
    return {
        "topic": str(message.topic),
        "content_type": content_type,
        "properties": told,
        "bytes": len(payload),
        "records": _records(_unwrapped(payload, told), content_type),
    }


def lines(seen: dict[str, Any]) -> Iterator[str]:
    """The same for a person: a line per message, then one per value."""
    ids = [value for name, value in seen["properties"] if name == "record-id"]
    rest = " ".join(f"{name}={value}" for name, value in seen["properties"] if name in ("lane", "assurance"))
    yield f"{seen['topic']}  {', '.join(ids) or 'no record-id'}  {rest}"
    if isinstance(seen["records"], list):
        yield from (f"  {line}" for line in _values(seen["records"]))
    else:
        yield f"  not SenML ({seen['content_type'] or 'no content type'}): {seen['records']}"


def _unwrapped(payload: bytes, properties: list[list[str]]) -> bytes:
    """Without its compression. What cannot be opened is left as it came, and shown so."""
    if ["content-encoding", "zstd"] not in properties:
        return payload
    try:
        if not 0 <= zstandard.frame_content_size(payload) <= _MOST_BYTES:
            return payload
        return zstandard.ZstdDecompressor().decompress(payload)
    except zstandard.ZstdError:
        return payload


def _records(payload: bytes, content_type: str | None) -> object:
    """The SenML pack as it is in JSON, or text where it is none."""
    try:
        if content_type and "cbor" in content_type:
            records = [{_LABELS.get(key, key): value for key, value in one.items()} for one in cbor2.loads(payload)]
        else:
            records = json.loads(payload)
    except (ValueError, TypeError, AttributeError, cbor2.CBORDecodeError):
        return payload[:200].decode(errors="backslashreplace")
    return (
        records if isinstance(records, list) and all(isinstance(one, dict) for one in records) else str(records)[:200]
    )


def _values(records: list[dict[str, Any]]) -> Iterator[str]:
    base: dict[str, Any] = {}
    for one in records:
        base |= {key: value for key, value in one.items() if key in ("bn", "bt", "bu")}
        value = next((one[key] for key in ("v", "vs", "vb", "vd", "s") if key in one), None)
        time_s = base.get("bt", 0) + one.get("t", 0)
        name = f"{base.get('bn', '')}{one.get('n', '')}"
        yield f"{_clock(time_s)}  {name}  {value} {one.get('u', base.get('bu', ''))}".rstrip()


def _clock(time_s: float) -> str:
    if not isinstance(time_s, (int, float)) or not _ABSOLUTE_FROM_S <= time_s < 2**35:
        return "no time             "
    return datetime.fromtimestamp(time_s, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `lamppost city watch`."""
    add = parser.add_argument
    add("--url", required=True, help="the city's broker, e.g. mqtt://127.0.0.1:1884")
    add("--topic", default="city/#", help="what to subscribe to (default: city/#)")
    add("--username", help="your user name there")
    add("--password-file", type=Path, metavar="FILE", help="file with your password")
    add("--ca-file", type=Path, metavar="FILE", help="who signed the broker's certificate, for mqtts://")
    add("--count", type=int, metavar="N", help="stop after N messages (default: on Ctrl-C)")
    add("--json", action="store_true", help="one JSON object per message")


def run(args: argparse.Namespace) -> int:
    """Watch until Ctrl-C or --count."""
    endpoint = parse_endpoint("--url", args.url)
    tls: ssl.SSLContext | None = None
    if endpoint.is_tls:
        tls = client_context("--", ca_file=args.ca_file, cert_file=None, key_file=None)
    password = read_password("--password-file", args.password_file).decode() if args.password_file else None

    async def serve() -> None:
        client = aiomqtt.Client(
            endpoint.host,
            endpoint.port,
            username=args.username,
            password=password,
            tls_context=tls,
            protocol=aiomqtt.ProtocolVersion.V5,
        )
        async with client:
            print(f"watching {args.topic} at {endpoint}; Ctrl-C ends", file=sys.stderr)
            await watch(client, args.topic, out=sys.stdout, as_json=args.json, count=args.count)

    try:
        asyncio.run(serve())
    except aiomqtt.MqttError as error:
        raise CityError(f"{endpoint}: {error}; is a broker running there, and does it admit you?") from None
    return 0
