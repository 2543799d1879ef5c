import asyncio
import datetime
import decimal
import io
import json
import time
import uuid

import asyncpg

import harness
from harness import (BIG_INT, BYTES, DATABASE, HOST, NUMERIC, PASSWORD, PORT, TEXT, USER, UUID, all_found, same, table)


def connect(**more):
    return asyncpg.connect(host=HOST, port=PORT, user=USER, password=PASSWORD, database=DATABASE, ssl=False, **more)


async def refused(c, text, state, *values):
    try:
        await c.fetch(text, *values)
    except asyncpg.PostgresError as error:
        same(error.sqlstate, state, "SQLSTATE")
        return error
    raise AssertionError(f"{text} was not refused")


async def fresh(c, name, columns):
    await c.execute(f"DROP TABLE IF EXISTS {table(name)}; CREATE TABLE {table(name)} ({columns})")
    return table(name)


async def step_connect():
    c = await connect(server_settings={"application_name": "conformance", "statement_timeout": "61s"})
    same(await c.fetchval("SHOW application_name"), "conformance")
    same(await c.fetchval("SHOW statement_timeout"), "61s")
    same(c.get_settings().client_encoding, "UTF8")
    assert c.get_server_version() >= (15, 0)
    await c.reset()
    same(await c.fetchval("SHOW statement_timeout"), "61s")
    await c.close()


async def step_types():
    c = await connect()
    t = await fresh(c, "types", "i int8, n numeric, t text, b bytea, z timestamptz, a int[], s text[], j json, jb jsonb, u uuid, iv interval, p point, r int4range, x text")
    for kind in ("json", "jsonb"):
        await c.set_type_codec(kind, encoder=json.dumps, decoder=json.loads, schema="pg_catalog")
    z = datetime.datetime(2026, 2, 3, 4, 5, 6, 789012, tzinfo=datetime.timezone.utc)
    j = {"a": [1, 2, {"b": None}], "ü": "🌍"}
    row = (BIG_INT, decimal.Decimal(NUMERIC), TEXT, BYTES, z, [1, None, 3], ["a", "b c", 'd,"e'], j, j, uuid.UUID(UUID),
           datetime.timedelta(days=1, seconds=5), asyncpg.Point(1, 2), asyncpg.Range(1, 5), None)
    await c.execute(f"INSERT INTO {t} VALUES ({','.join(f'${i + 1}' for i in range(len(row)))})", *row)
    same(tuple(await c.fetchrow(f"SELECT * FROM {t}")), row)
    # The driver looks types up that it does not know.
    await c.execute(f"DROP TYPE IF EXISTS {t}_mood CASCADE; CREATE TYPE {t}_mood AS ENUM ('well', 'ill')")
    await c.execute(f"DROP TYPE IF EXISTS {t}_pair CASCADE; CREATE TYPE {t}_pair AS (a int, b text)")
    same(await c.fetchval(f"SELECT $1::{t}_mood[]", ["well", "ill"]), ["well", "ill"])
    same(tuple(await c.fetchval(f"SELECT $1::{t}_pair", (1, "x"))), (1, "x"))
    await c.close()


async def step_transactions():
    c = await connect()
    t = await fresh(c, "tx", "i int")
    async with c.transaction():
        await c.execute(f"INSERT INTO {t} VALUES (1)")
    tr = c.transaction()
    await tr.start()
    await c.execute(f"INSERT INTO {t} VALUES (2)")
    await tr.rollback()
    async with c.transaction(isolation="serializable"):
        await c.execute(f"INSERT INTO {t} VALUES (3)")
        try:
            async with c.transaction():
                await c.execute(f"INSERT INTO {t} VALUES (4)")
                await c.fetch("SELECT 1/0")
        except asyncpg.DivisionByZeroError:
            pass
        await c.execute(f"INSERT INTO {t} VALUES (5)")
    same([r["i"] for r in await c.fetch(f"SELECT i FROM {t} ORDER BY i")], [1, 3, 5])
    async with c.transaction(isolation="repeatable_read", readonly=True):
        same(await c.fetchval(f"SELECT count(*) FROM {t}"), 3)
    await c.close()


async def step_prepared():
    c = await connect()
    t = await fresh(c, "prepared", "id int primary key, v text")
    put = await c.prepare(f"INSERT INTO {t} VALUES ($1, $2)")
    get = await c.prepare(f"SELECT v FROM {t} WHERE id = $1")
    for i in range(100):
        await put.fetch(i, f"v{i}")
        same(await get.fetchval(i), f"v{i}")
    await c.executemany(f"INSERT INTO {t} VALUES ($1, $2)", [(i, f"v{i}") for i in range(1000, 3000)])
    same(await c.fetchval(f"SELECT count(*) FROM {t}"), 2100)
    same(len(await c.fetch(f"SELECT * FROM {t} WHERE id = $1", 1)), 1)
    await c.execute(f"ALTER TABLE {t} ADD COLUMN w int DEFAULT 7")
    same(await get.fetchval(5), "v5")
    # The result's type changed: the driver prepares anew by itself.
    same(dict(await c.fetchrow(f"SELECT * FROM {t} WHERE id = $1", 1)), {"id": 1, "v": "v1", "w": 7})
    for i in range(250):
        same(await c.fetchval(f"SELECT $1::int + {i}", i), 2 * i)
    same([a.name for a in get.get_attributes()], ["v"])
    await c.close()
    uncached = await connect(statement_cache_size=0)
    for i in range(100):
        same(await uncached.fetchval("SELECT $1::int", i), i)
    await uncached.close()


async def step_copy():
    c = await connect()
    t = await fresh(c, "copy", "i int, t text")
    records = [(i, f"{TEXT} {i}") for i in range(5000)]
    same(await c.copy_records_to_table(t, records=records), "COPY 5000")
    out = io.BytesIO()
    same(await c.copy_from_query(f"SELECT i FROM {t} ORDER BY i", output=out), "COPY 5000")
    same(out.getvalue(), b"".join(b"%d\n" % i for i in range(5000)))
    out = io.BytesIO()
    await c.copy_from_table(t, output=out, format="binary")
    await c.execute(f"TRUNCATE {t}")
    out.seek(0)
    same(await c.copy_to_table(t, source=out, format="binary"), "COPY 5000")
    same(await c.fetchval(f"SELECT count(*) FROM {t}"), 5000)
    try:
        await c.copy_to_table(t, source=io.BytesIO(b"no number\tx\n"))
        raise AssertionError("wrong data was taken")
    except asyncpg.InvalidTextRepresentationError:
        pass

    async def failing():
        yield b"1\tx\n"
        raise ZeroDivisionError
    try:
        await c.copy_to_table(t, source=failing())
        raise AssertionError("a copy that failed here was taken")
    except ZeroDivisionError:
        pass
    same(await c.fetchval(f"SELECT count(*) FROM {t}"), 5000)
    await c.close()


async def step_cancel():
    c = await connect()
    started = time.monotonic()
    try:
        await c.fetch("SELECT pg_sleep(30)", timeout=0.3)
        raise AssertionError("was not cancelled")
    except asyncio.TimeoutError:
        pass
    same(await c.fetchval("SELECT 5"), 5)
    assert time.monotonic() - started < 5, "late"
    await c.close()


async def step_error():
    c = await connect()
    t = await fresh(c, "error", "i int primary key")
    await refused(c, "SELECT 1/0", "22012")
    await refused(c, "SELECT * FROM no_such_table", "42P01")
    same((await refused(c, "SELEC 1", "42601")).position, "1")
    await c.execute(f"INSERT INTO {t} VALUES (1)")
    same((await refused(c, f"INSERT INTO {t} VALUES ($1)", "23505", 1)).constraint_name, f"{t}_pkey")
    tr = c.transaction()
    await tr.start()
    await refused(c, "SELECT 1/0", "22012")
    await refused(c, "SELECT 1", "25P02")
    await tr.rollback()
    said = []
    c.add_log_listener(lambda _, message: said.append(message.message))
    await c.execute("DO $$ BEGIN RAISE NOTICE 'said'; END $$")
    await asyncio.sleep(0)
    same(said, ["said"])
    same(await c.fetchval("SELECT 5"), 5)
    await c.close()


async def step_read_your_writes():
    c = await connect()
    t = await fresh(c, "ryw", "i int, t text")
    for i in range(200):
        await c.execute(f"INSERT INTO {t} VALUES ($1, $2)", i, f"v{i}")
        same(await c.fetchval(f"SELECT t FROM {t} WHERE i = $1", i), f"v{i}")
    await c.close()
    # A pool resets its connections: what one session wrote is read by the next user of the same connection.
    async with asyncpg.create_pool(host=HOST, port=PORT, user=USER, password=PASSWORD, database=DATABASE, ssl=False, min_size=1, max_size=1) as pool:
        for i in range(200, 220):
            await pool.execute(f"INSERT INTO {t} VALUES ($1, $2)", i, f"v{i}")
            same(await pool.fetchval(f"SELECT count(*) FROM {t}"), i + 1)


async def step_large():
    c = await connect()
    same(len(await c.fetch("SELECT i, repeat('x', 1000) FROM generate_series(1, 10000) i")), 10000)
    same(len(await c.fetchval("SELECT repeat('y', 10000000)")), 10_000_000)
    same(await c.fetchval("SELECT length($1::text)", "z" * 10_000_000), 10_000_000)
    await c.close()


async def step_notify():
    listener, sender = await connect(), await connect()
    seen = []
    await listener.add_listener("c_asyncpg_channel", lambda _c, _pid, _channel, payload: seen.append(payload))
    await sender.execute("SELECT pg_notify('c_asyncpg_channel', $1)", "one")
    await sender.execute("NOTIFY c_asyncpg_channel, 'two'")
    deadline = time.monotonic() + 10
    while len(seen) < 2 and time.monotonic() < deadline:
        await asyncio.sleep(0.02)
    same(seen, ["one", "two"])
    await listener.close()
    await sender.close()


async def step_cursor():
    c = await connect()
    async with c.transaction():
        got = [r["i"] async for r in c.cursor("SELECT i FROM generate_series(1, 1000) i", prefetch=100)]
        same(got, list(range(1, 1001)))
        cursor = await c.cursor("SELECT i FROM generate_series(1, 1000) i WHERE i > $1", 10)
        await cursor.forward(10)
        same([r["i"] for r in await cursor.fetch(3)], [21, 22, 23])
    await c.close()


async def go_on_during(name):
    c = await connect(server_settings={"application_name": "goes on"})
    t = await fresh(c, name, "i int")
    await c.execute("SET work_mem = '5MB'")

    async def write(number, in_transaction):
        if not in_transaction:
            await c.execute(f"INSERT INTO {t} VALUES ($1)", number)
            return
        async with c.transaction():
            await c.execute(f"INSERT INTO {t} VALUES ($1)", number)
    loop = asyncio.get_running_loop()

    def sync_write(number, in_transaction):
        asyncio.run_coroutine_threadsafe(write(number, in_transaction), loop).result()
    acknowledged = await loop.run_in_executor(None, harness.go_on, name, sync_write, lambda error: getattr(error, "sqlstate", None))
    all_found([r["i"] for r in await c.fetch(f"SELECT i FROM {t}")], acknowledged)
    same(await c.fetchval("SHOW work_mem"), "5MB", "setting of the session")
    same(await c.fetchval("SHOW application_name"), "goes on")
    await c.close()


def step(coroutine, *values):
    return lambda: asyncio.run(coroutine(*values))


harness.run({
    "connect": step(step_connect), "types": step(step_types), "transactions": step(step_transactions), "prepared": step(step_prepared),
    "copy": step(step_copy), "cancel": step(step_cancel), "error": step(step_error), "read-your-writes": step(step_read_your_writes),
    "large": step(step_large), "notify": step(step_notify), "cursor": step(step_cursor),
    "switchover": step(go_on_during, "switchover"), "crash": step(go_on_during, "crash"),
})
