"""What an application in another language does, through psycopg 3 as it is. Prints ok."""

import sys

import psycopg

with psycopg.connect(sys.argv[1], autocommit=True) as conn:
    conn.execute("DROP TABLE IF EXISTS snake")
    conn.execute("CREATE TABLE snake(id int PRIMARY KEY, name text)")
    with conn.transaction():
        conn.execute("INSERT INTO snake VALUES (%s, %s)", (1, "adder"))
        try:
            with conn.transaction():  # a savepoint
                conn.execute("INSERT INTO snake VALUES (%s, %s)", (1, "twice"))
        except psycopg.errors.UniqueViolation:
            pass
        conn.execute("INSERT INTO snake VALUES (%s, %s)", (2, "boa"))
    assert conn.execute("SELECT count(*) FROM snake").fetchone() == (2,)

    for i in range(20):  # becomes a named prepared statement after five
        assert conn.execute("SELECT %s::int + 1", (i,), prepare=i > 2).fetchone() == (i + 1,)

    with conn.cursor().copy("COPY snake FROM STDIN") as copy:
        for i in range(10, 1010):
            copy.write_row((i, f"snake {i}"))
    with conn.cursor().copy("COPY (SELECT id FROM snake ORDER BY id) TO STDOUT") as copy:
        assert sum(1 for _ in copy.rows()) == 1002

    with conn.transaction(), conn.cursor(name="walk") as cursor:
        cursor.itersize = 100
        cursor.execute("SELECT id FROM snake ORDER BY id")
        assert sum(1 for _ in cursor) == 1002

    if psycopg.Pipeline.is_supported():
        with conn.pipeline():
            first = conn.execute("INSERT INTO snake VALUES (5000, 'a') RETURNING id")
            second = conn.execute("SELECT name FROM snake WHERE id = 5000")
        assert first.fetchone() == (5000,)
        assert second.fetchone() == ("a",)

    try:
        conn.execute("SELECT nonsense")
        raise AssertionError("an error was expected")
    except psycopg.errors.UndefinedColumn:
        pass
    assert conn.execute("SELECT 1").fetchone() == (1,)

print("ok")
