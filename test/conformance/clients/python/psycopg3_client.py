import datetime
import decimal
import json
import threading
import time
import uuid

import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Json

from harness import (BIG_INT, BYTES, DATABASE, HOST, NUMERIC, PASSWORD, PORT, TEXT, USER, UUID, all_found, go_on, run, same, table)


def connect(**more):
    return psycopg.connect(
        host=HOST, port=PORT, user=USER, password=PASSWORD, dbname=DATABASE, sslmode="disable", autocommit=True, **more)


def one(connection, text, *values, **more):
    return connection.execute(text, values or None, **more).fetchone()[0]


def state_of(error):
    return getattr(error, "sqlstate", None)


def refused(connection, text, state, *values):
    try:
        connection.execute(text, values or None)
    except psycopg.Error as error:
        same(error.sqlstate, state, "SQLSTATE")
        return error
    raise AssertionError(f"{text} was not refused")


def fresh(connection, name, columns):
    connection.execute(f"DROP TABLE IF EXISTS {table(name)}")
    connection.execute(f"CREATE TABLE {table(name)} ({columns})")
    return table(name)


def step_connect():
    with connect(application_name="conformance", options="-c statement_timeout=61s") as c:
        same(one(c, "SHOW application_name"), "conformance")
        same(one(c, "SHOW statement_timeout"), "61s")
        same(c.info.parameter_status("client_encoding"), "UTF8")
        assert c.info.server_version >= 150000
        assert c.info.backend_pid > 0


def step_types():
    with connect() as c:
        t = fresh(c, "types", "i int8, n numeric, t text, b bytea, z timestamptz, a int[], s text[], j json, jb jsonb, u uuid, d date, iv interval, x text")
        z = datetime.datetime(2026, 2, 3, 4, 5, 6, 789012, tzinfo=datetime.timezone.utc)
        j = {"a": [1, 2, {"b": None}], "ü": "🌍"}
        row = (BIG_INT, decimal.Decimal(NUMERIC), TEXT, BYTES, z, [1, None, 3], ["a", "b c", 'd,"e'], Json(j), Json(j), uuid.UUID(UUID),
               datetime.date(2026, 2, 28), datetime.timedelta(days=1, seconds=5), None)
        c.execute(f"INSERT INTO {t} VALUES ({','.join(['%s'] * len(row))})", row)
        wanted = [j if isinstance(value, Json) else value for value in row]
        for binary in (False, True):
            same(list(c.execute(f"SELECT * FROM {t}", binary=binary).fetchone()), wanted, f"row, binary {binary}")
        same(c.cursor(row_factory=dict_row).execute("SELECT 1 AS a, NULL AS b").fetchone(), {"a": 1, "b": None})


def step_transactions():
    with connect() as c:
        t = fresh(c, "tx", "i int")
        with c.transaction():
            c.execute(f"INSERT INTO {t} VALUES (1)")
        same(one(c, f"SELECT count(*) FROM {t}"), 1)
        with c.transaction(force_rollback=True):
            c.execute(f"INSERT INTO {t} VALUES (2)")
        same(one(c, f"SELECT count(*) FROM {t}"), 1)
        with c.transaction():
            c.execute(f"INSERT INTO {t} VALUES (3)")
            try:
                with c.transaction():
                    c.execute(f"INSERT INTO {t} VALUES (4)")
                    c.execute("SELECT 1/0")
            except psycopg.errors.DivisionByZero:
                pass
            c.execute(f"INSERT INTO {t} VALUES (5)")
        same([r[0] for r in c.execute(f"SELECT i FROM {t} ORDER BY i")], [1, 3, 5])
    with psycopg.connect(host=HOST, port=PORT, user=USER, password=PASSWORD, dbname=DATABASE, sslmode="disable") as c:
        for level in psycopg.IsolationLevel:
            c.isolation_level = level
            c.execute(f"INSERT INTO {t} VALUES (6)")
            c.rollback()
        c.isolation_level = None
        c.read_only = True
        same(one(c, f"SELECT count(*) FROM {t}"), 3)
        refused(c, f"INSERT INTO {t} VALUES (7)", "25006")
        c.rollback()
        c.read_only = False
        c.execute(f"INSERT INTO {t} VALUES (8)")
        c.commit()
        same(one(c, f"SELECT count(*) FROM {t}"), 4)


def step_prepared():
    with connect(prepare_threshold=1) as c:
        t = fresh(c, "prepared", "id int primary key, v text")
        for i in range(150):
            c.execute(f"INSERT INTO {t} VALUES (%s, %s)", (i, f"v{i}"), prepare=True)
            same(one(c, f"SELECT v FROM {t} WHERE id = %s", i), f"v{i}")
        c.execute(f"ALTER TABLE {t} ADD COLUMN w int DEFAULT 7")
        for i in range(10):
            same(one(c, f"SELECT v FROM {t} WHERE id = %s", i), f"v{i}")
            same(one(c, f"SELECT w FROM {t} WHERE id = %s", i), 7)
        # More texts than the driver keeps: it deallocates the oldest.
        for i in range(250):
            same(one(c, f"SELECT %s::int + {i}", i, prepare=True), 2 * i)
        c.execute("DEALLOCATE ALL")
        c._prepared.clear()
        same(one(c, f"SELECT v FROM {t} WHERE id = %s", 3, prepare=True), "v3")


def step_pipeline():
    with connect() as c:
        t = fresh(c, "pipeline", "i int primary key")
        with c.pipeline():
            cursors = [c.execute(f"INSERT INTO {t} VALUES (%s) RETURNING i", (i,)) for i in range(100)]
        same([cursor.fetchone()[0] for cursor in cursors], list(range(100)))
        try:
            with c.pipeline():
                c.execute(f"INSERT INTO {t} VALUES (1000)")
                c.execute("SELECT 1/0")
                c.execute(f"INSERT INTO {t} VALUES (1001)")
        except psycopg.errors.DivisionByZero:
            pass
        same(one(c, "SELECT 5"), 5)
        with c.pipeline(), c.transaction():
            for i in range(200, 220):
                c.execute(f"INSERT INTO {t} VALUES (%s)", (i,))
            cursor = c.execute(f"SELECT count(*) FROM {t} WHERE i BETWEEN 200 AND 300")
            same(cursor.fetchone()[0], 20)
        same(one(c, f"SELECT count(*) FROM {t} WHERE i >= 1000 OR i BETWEEN 200 AND 300"), 20)


def step_copy():
    with connect() as c:
        t = fresh(c, "copy", "i int, t text")
        with c.cursor().copy(f"COPY {t} FROM STDIN") as copy:
            for i in range(5000):
                copy.write_row((i, f"{TEXT} {i}"))
        same(one(c, f"SELECT count(*) FROM {t}"), 5000)
        with c.cursor().copy(f"COPY (SELECT * FROM {t} ORDER BY i) TO STDOUT") as copy:
            copy.set_types(["int4", "text"])
            same(list(copy.rows()), [(i, f"{TEXT} {i}") for i in range(5000)])
        try:
            with c.cursor().copy(f"COPY {t} FROM STDIN") as copy:
                copy.write(b"not a number\tx\n")
            raise AssertionError("wrong data was taken")
        except psycopg.errors.InvalidTextRepresentation:
            pass
        with c.cursor().copy(f"COPY {t} FROM STDIN (FORMAT binary)") as copy:
            copy.set_types(["int4", "text"])
            copy.write_row((9999, "binary"))
        same(one(c, f"SELECT t FROM {t} WHERE i = 9999"), "binary")


def step_cancel():
    with connect() as c:
        timer = threading.Timer(0.3, c.cancel)
        timer.start()
        started = time.monotonic()
        refused(c, "SELECT pg_sleep(30)", "57014")
        timer.join()
        assert time.monotonic() - started < 5, "late"
        same(one(c, "SELECT 5"), 5)


def step_error():
    with connect() as c:
        t = fresh(c, "error", "i int primary key")
        refused(c, "SELECT 1/0", "22012")
        refused(c, "SELECT * FROM no_such_table", "42P01")
        error = refused(c, "SELEC 1", "42601")
        same(error.diag.statement_position, "1")
        c.execute(f"INSERT INTO {t} VALUES (1)")
        error = refused(c, f"INSERT INTO {t} VALUES (%s)", "23505", 1)
        same(error.diag.constraint_name, f"{t}_pkey")
        try:
            with c.transaction():
                refused(c, "SELECT 1/0", "22012")
                refused(c, "SELECT 1", "25P02")
                raise ZeroDivisionError
        except ZeroDivisionError:
            pass
        notices = []
        c.add_notice_handler(lambda diag: notices.append(diag.message_primary))
        c.execute("DO $$ BEGIN RAISE NOTICE 'said'; END $$")
        same(notices, ["said"])
        same(one(c, "SELECT 5"), 5)


def step_read_your_writes():
    with connect() as c:
        t = fresh(c, "ryw", "i int, t text")
        for i in range(200):
            c.execute(f"INSERT INTO {t} VALUES (%s, %s)", (i, f"v{i}"))
            same(one(c, f"SELECT t FROM {t} WHERE i = %s", i), f"v{i}")
            c.execute(f"UPDATE {t} SET t = %s WHERE i = %s", (f"w{i}", i))
            same(one(c, f"SELECT count(*) FROM {t} WHERE t LIKE 'w%%'"), i + 1)


def step_large():
    with connect() as c:
        rows = c.execute("SELECT i, repeat('x', 1000) FROM generate_series(1, 10000) i").fetchall()
        same(len(rows), 10000)
        same(len(one(c, "SELECT repeat('y', 10000000)")), 10_000_000)
        same(one(c, "SELECT length(%s::text)", "z" * 10_000_000), 10_000_000)


def step_notify():
    with connect() as listener, connect() as sender:
        seen = []
        listener.add_notify_handler(lambda notify: seen.append(notify.payload))
        listener.execute("LISTEN c_psycopg3_channel")
        sender.execute("SELECT pg_notify('c_psycopg3_channel', %s)", ("one",))
        sender.execute("NOTIFY c_psycopg3_channel, 'two'")
        listener.execute("NOTIFY c_psycopg3_channel, 'three'")
        deadline = time.monotonic() + 10
        while len(seen) < 3 and time.monotonic() < deadline:
            one(listener, "SELECT 1")
            time.sleep(0.02)
        same(sorted(seen), ["one", "three", "two"])
        listener.execute("UNLISTEN *")


def step_cursor():
    with connect() as c:
        with c.transaction():
            with c.cursor(name="numbers") as cursor:
                cursor.itersize = 100
                cursor.execute("SELECT i FROM generate_series(1, 1000) i")
                same([r[0] for r in cursor], list(range(1, 1001)))
            with c.cursor(name="back", scrollable=True) as cursor:
                cursor.execute("SELECT i FROM generate_series(1, 1000) i")
                cursor.scroll(500)
                same(cursor.fetchone()[0], 501)
                cursor.scroll(-2)
                same(cursor.fetchone()[0], 500)
        with c.cursor(name="held", withhold=True) as cursor:
            cursor.execute("SELECT i FROM generate_series(1, 1000) i")
            same(cursor.fetchone()[0], 1)
            same(len(cursor.fetchall()), 999)


def go_on_during(name):
    with connect(application_name="goes on") as c:
        t = fresh(c, name, "i int")
        c.execute("SET work_mem = '5MB'")

        def write(number, in_transaction):
            if not in_transaction:
                c.execute(f"INSERT INTO {t} VALUES (%s)", (number,))
                return
            with c.transaction():
                c.execute(f"INSERT INTO {t} VALUES (%s)", (number,))
        acknowledged = go_on(name, write, state_of)
        all_found([r[0] for r in c.execute(f"SELECT i FROM {t}")], acknowledged)
        same(one(c, "SHOW work_mem"), "5MB", "setting of the session")
        same(one(c, "SHOW application_name"), "goes on")


run({
    "connect": step_connect, "types": step_types, "transactions": step_transactions, "prepared": step_prepared,
    "pipeline": step_pipeline, "copy": step_copy, "cancel": step_cancel, "error": step_error,
    "read-your-writes": step_read_your_writes, "large": step_large, "notify": step_notify, "cursor": step_cursor,
    "switchover": lambda: go_on_during("switchover"), "crash": lambda: go_on_during("crash"),
})
