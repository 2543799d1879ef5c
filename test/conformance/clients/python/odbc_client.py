import datetime
import decimal
import threading
import time

import pyodbc

from harness import (BIG_INT, BYTES, DATABASE, HOST, NUMERIC, PASSWORD, PORT, TEXT, USER, UUID, all_found, go_on, run, same, table)


def connect(autocommit=True, **more):
    driver = {"driver": "PostgreSQL Unicode", "server": HOST, "port": PORT, "uid": USER, "pwd": PASSWORD, "database": DATABASE, "sslmode": "disable"}
    return pyodbc.connect(";".join(f"{k}={v}" for k, v in {**driver, **more}.items()), autocommit=autocommit)


def rows(connection, text, *values):
    cursor = connection.cursor()
    try:
        cursor.execute(text, *values)
        return [tuple(row) for row in cursor.fetchall()] if cursor.description else []
    finally:
        cursor.close()


def one(connection, text, *values):
    return rows(connection, text, *values)[0][0]


def state_of(error):
    return error.args[0] if isinstance(error, pyodbc.Error) else None


def refused(connection, text, state, *values):
    try:
        rows(connection, text, *values)
    except pyodbc.Error as error:
        same(error.args[0], state, "SQLSTATE")
        return error
    raise AssertionError(f"{text} was not refused")


def fresh(connection, name, columns):
    rows(connection, f"DROP TABLE IF EXISTS {table(name)}")
    rows(connection, f"CREATE TABLE {table(name)} ({columns})")
    return table(name)


def step_connect():
    c = connect(ApplicationName="conformance")
    assert c.getinfo(pyodbc.SQL_DBMS_NAME) == "PostgreSQL"
    same(one(c, "SELECT current_database()"), DATABASE)
    same([r.table_name for r in c.cursor().tables(table="no_such_table")], [])
    c.close()


def step_types():
    c = connect()
    t = fresh(c, "types", "i int8, n numeric(40, 9), t text, b bytea, z timestamp, u uuid, d date, x text")
    z = datetime.datetime(2026, 2, 3, 4, 5, 6, 789012)
    row = (BIG_INT, decimal.Decimal(NUMERIC), TEXT, BYTES, z, UUID, datetime.date(2026, 2, 28), None)
    rows(c, f"INSERT INTO {t} VALUES (?, ?, ?, ?, ?, ?, ?, ?)", *row)
    got = list(rows(c, f"SELECT * FROM {t}")[0])
    got[5] = got[5].lower()
    same(got, list(row))
    same([r.column_name for r in c.cursor().columns(table=t)], ["i", "n", "t", "b", "z", "u", "d", "x"])
    c.close()


def step_transactions():
    a, c = connect(), connect(autocommit=False)
    t = fresh(a, "tx", "i int")
    rows(c, f"INSERT INTO {t} VALUES (1)")
    c.commit()
    rows(c, f"INSERT INTO {t} VALUES (2)")
    # What is not committed is seen by nobody else; what is, by another session soon (consistency `session`).
    assert one(a, f"SELECT count(*) FROM {t}") <= 1
    c.rollback()
    rows(c, f"INSERT INTO {t} VALUES (3)")
    rows(c, "SAVEPOINT s")
    rows(c, f"INSERT INTO {t} VALUES (4)")
    rows(c, "ROLLBACK TO SAVEPOINT s")
    # The driver sets a savepoint around each statement: an error leaves the transaction as it was.
    refused(c, "SELECT 1/0", "22012")
    rows(c, f"INSERT INTO {t} VALUES (5)")
    c.commit()
    # In this session: another one's commits are promised to a reader at consistency `database` only.
    same([r[0] for r in rows(c, f"SELECT i FROM {t} ORDER BY i")], [1, 3, 5])
    a.close()
    c.close()


def step_prepared():
    for server_side in (0, 1):
        c = connect(UseServerSidePrepare=server_side)
        t = fresh(c, "prepared", "id int primary key, v text")
        cursor = c.cursor()
        for i in range(100):
            rows(c, f"INSERT INTO {t} VALUES (?, ?)", i, f"v{i}")
            cursor.execute(f"SELECT v FROM {t} WHERE id = ?", i)
            same(cursor.fetchone()[0], f"v{i}")
        rows(c, f"ALTER TABLE {t} ADD COLUMN w int DEFAULT 7")
        cursor.execute(f"SELECT v FROM {t} WHERE id = ?", 5)
        same(cursor.fetchone()[0], "v5")
        cursor.executemany(f"INSERT INTO {t} VALUES (?, ?)", [(i, str(i)) for i in range(1000, 1100)])
        same(one(c, f"SELECT count(*) FROM {t}"), 200)
        c.close()


def step_cancel():
    c = connect()
    cursor = c.cursor()
    timer = threading.Timer(0.3, cursor.cancel)
    timer.start()
    started = time.monotonic()
    try:
        cursor.execute("SELECT pg_sleep(30)")
        raise AssertionError("was not cancelled")
    except pyodbc.Error as error:
        assert error.args[0] in ("57014", "HY008"), error
    timer.join()
    assert time.monotonic() - started < 5, "late"
    same(one(c, "SELECT 5"), 5)
    c.close()


def step_error():
    c = connect()
    t = fresh(c, "error", "i int primary key")
    refused(c, "SELECT 1/0", "22012")
    refused(c, "SELECT * FROM no_such_table", "42P01")
    refused(c, "SELEC 1", "42601")
    rows(c, f"INSERT INTO {t} VALUES (1)")
    refused(c, f"INSERT INTO {t} VALUES (?)", "23505", 1)
    same(one(c, "SELECT 5"), 5)
    c.close()


def step_read_your_writes():
    c = connect()
    t = fresh(c, "ryw", "i int, t text")
    for i in range(200):
        rows(c, f"INSERT INTO {t} VALUES (?, ?)", i, f"v{i}")
        same(one(c, f"SELECT t FROM {t} WHERE i = ?", i), f"v{i}")
    c.close()


def step_large():
    c = connect(MaxLongVarcharSize=20000000)
    same(len(rows(c, "SELECT i, repeat('x', 1000) FROM generate_series(1, 10000) i")), 10000)
    same(len(one(c, "SELECT repeat('y', 10000000)")), 10_000_000)
    same(one(c, "SELECT length(?::text)", "z" * 5_000_000), 5_000_000)
    c.close()


def step_cursor():
    c = connect(autocommit=False, UseDeclareFetch=1, Fetch=100)
    cursor = c.cursor()
    cursor.execute("SELECT i FROM generate_series(1, 1000) i")
    same([r[0] for r in cursor.fetchall()], list(range(1, 1001)))
    cursor.execute("SELECT i FROM generate_series(1, 1000) i")
    same([r[0] for r in cursor.fetchmany(150)], list(range(1, 151)))
    cursor.close()
    c.commit()
    c.close()


def go_on_during(name):
    c = connect()
    t = fresh(c, name, "i int")
    rows(c, "SET work_mem = '5MB'")

    def write(number, in_transaction):
        if not in_transaction:
            rows(c, f"INSERT INTO {t} VALUES (?)", number)
            return
        c.autocommit = False
        try:
            rows(c, f"INSERT INTO {t} VALUES (?)", number)
            c.commit()
        except pyodbc.Error:
            c.rollback()
            raise
        finally:
            c.autocommit = True
    acknowledged = go_on(name, write, state_of)
    all_found([r[0] for r in rows(c, f"SELECT i FROM {t}")], acknowledged)
    same(one(c, "SHOW work_mem"), "5MB", "setting of the session")
    c.close()


run({
    "connect": step_connect, "types": step_types, "transactions": step_transactions, "prepared": step_prepared, "cancel": step_cancel,
    "error": step_error, "read-your-writes": step_read_your_writes, "large": step_large, "cursor": step_cursor,
    "switchover": lambda: go_on_during("switchover"), "crash": lambda: go_on_during("crash"),
})
