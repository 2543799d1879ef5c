import datetime
import decimal
import io
import select
import threading
import time
import uuid

import psycopg2
import psycopg2.extras

from harness import (BIG_INT, BYTES, DATABASE, HOST, NUMERIC, PASSWORD, PORT, TEXT, USER, UUID, all_found, go_on, run, same, table)

psycopg2.extras.register_uuid()


def connect(autocommit=True, **more):
    connection = psycopg2.connect(host=HOST, port=PORT, user=USER, password=PASSWORD, dbname=DATABASE, sslmode="disable", **more)
    connection.autocommit = autocommit
    return connection


def rows(connection, text, *values):
    with connection.cursor() as cursor:
        cursor.execute(text, values or None)
        return cursor.fetchall() if cursor.description else []


def one(connection, text, *values):
    return rows(connection, text, *values)[0][0]


def state_of(error):
    return getattr(error, "pgcode", None)


def refused(connection, text, state, *values):
    try:
        rows(connection, text, *values)
    except psycopg2.Error as error:
        same(error.pgcode, state, "SQLSTATE")
        return error
    raise AssertionError(f"{text} was not refused")


def fresh(connection, name, columns):
    rows(connection, f"DROP TABLE IF EXISTS {table(name)}")
    rows(connection, f"CREATE TABLE {table(name)} ({columns})")
    return table(name)


def step_connect():
    c = connect(application_name="conformance", options="-c statement_timeout=61s")
    same(one(c, "SHOW application_name"), "conformance")
    same(one(c, "SHOW statement_timeout"), "61s")
    same(c.encoding, "UTF8")
    assert c.server_version >= 150000
    c.set_client_encoding("LATIN1")
    same(one(c, "SELECT 'ü'"), "ü")
    c.set_client_encoding("UTF8")
    same(one(c, "SELECT %s", TEXT), TEXT)
    c.close()


def step_types():
    c = connect()
    t = fresh(c, "types", "i int8, n numeric, t text, b bytea, z timestamptz, a int[], s text[], j json, jb jsonb, u uuid, x text")
    z = datetime.datetime(2026, 2, 3, 4, 5, 6, 789012, tzinfo=datetime.timezone.utc)
    j = {"a": [1, 2, {"b": None}], "ü": "🌍"}
    row = (BIG_INT, decimal.Decimal(NUMERIC), TEXT, psycopg2.Binary(BYTES), z, [1, None, 3], ["a", "b c", 'd,"e'],
           psycopg2.extras.Json(j), psycopg2.extras.Json(j), uuid.UUID(UUID), None)
    rows(c, f"INSERT INTO {t} VALUES ({','.join(['%s'] * len(row))})", *row)
    got = list(rows(c, f"SELECT * FROM {t}")[0])
    got[3] = bytes(got[3])
    wanted = list(row)
    wanted[3], wanted[7], wanted[8] = BYTES, j, j
    same(got, wanted)
    c.close()


def step_transactions():
    a = connect()
    t = fresh(a, "tx", "i int")
    c = connect(autocommit=False)
    rows(c, f"INSERT INTO {t} VALUES (1)")
    c.commit()
    rows(c, f"INSERT INTO {t} VALUES (2)")
    # What is not committed is seen by nobody else; what is, by another session soon (consistency `session`).
    assert one(a, f"SELECT count(*) FROM {t}") <= 1
    c.rollback()
    rows(c, f"INSERT INTO {t} VALUES (3)")
    rows(c, "SAVEPOINT s")
    rows(c, f"INSERT INTO {t} VALUES (4)")
    refused(c, "SELECT 1/0", "22012")
    rows(c, "ROLLBACK TO SAVEPOINT s")
    rows(c, f"INSERT INTO {t} VALUES (5)")
    c.commit()
    # In this session: another one's commits are promised to a reader at consistency `database` only.
    same([r[0] for r in rows(c, f"SELECT i FROM {t} ORDER BY i")], [1, 3, 5])
    c.commit()
    c.set_session(isolation_level="REPEATABLE READ", readonly=True)
    same(one(c, f"SELECT count(*) FROM {t}"), 3)
    refused(c, f"INSERT INTO {t} VALUES (7)", "25006")
    c.rollback()
    c.set_session(isolation_level="SERIALIZABLE", readonly=False)
    rows(c, f"INSERT INTO {t} VALUES (8)")
    c.commit()
    same(one(c, f"SELECT count(*) FROM {t}"), 4)
    a.close()
    c.close()


def step_prepared():
    """The driver has none of the protocol's: the language's."""
    c = connect()
    t = fresh(c, "prepared", "id int primary key, v text")
    rows(c, f"PREPARE put (int, text) AS INSERT INTO {t} VALUES ($1, $2)")
    rows(c, f"PREPARE get (int) AS SELECT v FROM {t} WHERE id = $1")
    for i in range(100):
        rows(c, "EXECUTE put (%s, %s)", i, f"v{i}")
        same(one(c, "EXECUTE get (%s)", i), f"v{i}")
    rows(c, f"ALTER TABLE {t} ADD COLUMN w int")
    same(one(c, "EXECUTE get (5)"), "v5")
    rows(c, "DEALLOCATE put")
    refused(c, "EXECUTE put (1000, 'x')", "26000")
    same(one(c, "SELECT count(*) FROM pg_prepared_statements"), 1)
    rows(c, "DEALLOCATE ALL")
    refused(c, "EXECUTE get (1)", "26000")
    c.close()


def step_copy():
    c = connect()
    t = fresh(c, "copy", "i int, t text")
    with c.cursor() as cursor:
        data = "".join(f"{i}\tline ü {i}\n" for i in range(20000))
        cursor.copy_expert(f"COPY {t} FROM STDIN", io.StringIO(data))
        same(cursor.rowcount, 20000)
        back = io.StringIO()
        cursor.copy_expert(f"COPY (SELECT * FROM {t} ORDER BY i) TO STDOUT", back)
        same(back.getvalue(), data)
        back = io.StringIO()
        cursor.copy_expert(f"COPY {t} TO STDOUT (FORMAT csv, HEADER)", back)
        same(len(back.getvalue().splitlines()), 20001)
        try:
            cursor.copy_expert(f"COPY {t} FROM STDIN", io.StringIO("no number\tx\n"))
            raise AssertionError("wrong data was taken")
        except psycopg2.errors.InvalidTextRepresentation:
            pass
        cursor.copy_from(io.StringIO("77777\tx\n"), t)
    same(one(c, f"SELECT count(*) FROM {t}"), 20001)
    c.close()


def step_cancel():
    c = connect()
    timer = threading.Timer(0.3, c.cancel)
    timer.start()
    started = time.monotonic()
    refused(c, "SELECT pg_sleep(30)", "57014")
    timer.join()
    assert time.monotonic() - started < 5, "late"
    same(one(c, "SELECT 5"), 5)
    c.close()


def step_error():
    c = connect()
    t = fresh(c, "error", "i int primary key")
    refused(c, "SELECT 1/0", "22012")
    refused(c, "SELECT * FROM no_such_table", "42P01")
    same(refused(c, "SELEC 1", "42601").diag.statement_position, "1")
    rows(c, f"INSERT INTO {t} VALUES (1)")
    same(refused(c, f"INSERT INTO {t} VALUES (%s)", "23505", 1).diag.constraint_name, f"{t}_pkey")
    rows(c, "DO $$ BEGIN RAISE NOTICE 'said'; END $$")
    same(c.notices[-1], "NOTICE:  said\n")
    c.autocommit = False
    refused(c, "SELECT 1/0", "22012")
    refused(c, "SELECT 1", "25P02")
    c.rollback()
    same(one(c, "SELECT 5"), 5)
    c.close()


def step_read_your_writes():
    c = connect()
    t = fresh(c, "ryw", "i int, t text")
    for i in range(200):
        rows(c, f"INSERT INTO {t} VALUES (%s, %s)", i, f"v{i}")
        same(one(c, f"SELECT t FROM {t} WHERE i = %s", i), f"v{i}")
    c.close()


def step_large():
    c = connect()
    same(len(rows(c, "SELECT i, repeat('x', 1000) FROM generate_series(1, 10000) i")), 10000)
    same(len(one(c, "SELECT repeat('y', 10000000)")), 10_000_000)
    same(one(c, "SELECT length(%s)", "z" * 10_000_000), 10_000_000)
    c.close()


def step_notify():
    listener, sender = connect(), connect()
    rows(listener, "LISTEN c_psycopg2_channel")
    rows(sender, "SELECT pg_notify('c_psycopg2_channel', %s)", "one")
    rows(sender, "NOTIFY c_psycopg2_channel, 'two'")
    deadline = time.monotonic() + 10
    while len(listener.notifies) < 2 and time.monotonic() < deadline:
        select.select([listener], [], [], 0.5)
        listener.poll()
    same([n.payload for n in listener.notifies], ["one", "two"])
    listener.close()
    sender.close()


def step_cursor():
    c = connect(autocommit=False)
    with c.cursor("numbers") as cursor:
        cursor.itersize = 100
        cursor.execute("SELECT i FROM generate_series(1, 1000) i")
        same([r[0] for r in cursor], list(range(1, 1001)))
    c.commit()
    with c.cursor("held", withhold=True, scrollable=True) as cursor:
        cursor.execute("SELECT i FROM generate_series(1, 1000) i")
        c.commit()
        cursor.scroll(500)
        same(cursor.fetchone()[0], 501)
    c.close()


def go_on_during(name):
    c = connect(application_name="goes on")
    t = fresh(c, name, "i int")
    rows(c, "SET work_mem = '5MB'")

    def write(number, in_transaction):
        if not in_transaction:
            rows(c, f"INSERT INTO {t} VALUES (%s)", number)
            return
        c.autocommit = False
        try:
            rows(c, f"INSERT INTO {t} VALUES (%s)", number)
            c.commit()
        except psycopg2.Error:
            c.rollback()
            raise
        finally:
            c.autocommit = True
    acknowledged = go_on(name, write, state_of)
    all_found([r[0] for r in rows(c, f"SELECT i FROM {t}")], acknowledged)
    same(one(c, "SHOW work_mem"), "5MB", "setting of the session")
    same(one(c, "SHOW application_name"), "goes on")
    c.close()


run({
    "connect": step_connect, "types": step_types, "transactions": step_transactions, "prepared": step_prepared, "copy": step_copy,
    "cancel": step_cancel, "error": step_error, "read-your-writes": step_read_your_writes, "large": step_large, "notify": step_notify,
    "cursor": step_cursor, "switchover": lambda: go_on_during("switchover"), "crash": lambda: go_on_during("crash"),
})
