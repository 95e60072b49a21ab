"""The ingest listener before a gateway's core."""

import asyncio
from contextlib import asynccontextmanager

from gateway.endpoint import Endpoint
from gateway.southbound.mqtt import IngestListener

LOOPBACK = Endpoint(host="127.0.0.1", port=0, is_tls=False)
TEMPERATURE = b'[{"bn":"sensor-7:","n":"temperature","u":"Cel","v":21.5}]'


@asynccontextmanager
async def listening(core, endpoint=LOOPBACK, **options):
    async with IngestListener(core.intake, endpoint, count=core.counters.add, **options) as listener:
        running = asyncio.create_task(listener.run())
        try:
            yield listener
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
