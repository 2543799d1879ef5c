"""What the Python clients share: the order of the steps, the lines that the suite reads, the loop that goes on through a change of leader."""
import os
import sys
import time
import traceback

CLIENT, SIGNALS, STEPS = sys.argv[1], sys.argv[2], sys.argv[3:]
HOST, PORT = os.environ["PGHOST"], int(os.environ["PGPORT"])
USER, PASSWORD, DATABASE = os.environ["PGUSER"], os.environ["PGPASSWORD"], os.environ["PGDATABASE"]

TEXT = "Grüße, 世界 🌍 'quoted' \\ \"double\"\nsecond line"
BIG_INT = 9223372036854775807
NUMERIC = "12345678901234567890.123456789"
BYTES = bytes([0, 1, 39, 92, 254, 255])
UUID = "0198c2f0-5b7a-7c3d-8e4f-0123456789ab"
# What a session may be told when its leader was lost; whatever else comes is a fault.
ALLOWED = ("40001", "08007")


class Skip(Exception):
    pass


def table(name):
    return f"c_{CLIENT}_{name}"


def same(got, wanted, what="value"):
    if got != wanted:
        raise AssertionError(f"{what}: got {got!r:.200}, wanted {wanted!r:.200}")


def say(line):
    print(line, flush=True)


def report(name, error):
    if error is None:
        say(f"ok {name}")
    elif isinstance(error, Skip):
        say(f"skip {name} - {error}")
    else:
        if os.environ.get("TRACE"):
            traceback.print_exception(error)
        reason = f"{type(error).__name__}: {error}".replace("\n", " | ")
        say(f"not ok {name} - {reason}")


def is_over(name):
    return os.path.exists(os.path.join(SIGNALS, name))


def run(steps):
    """`steps`: functions by name."""
    for name in STEPS:
        try:
            if name not in steps:
                raise Skip("the driver has no such thing")
            steps[name]()
            report(name, None)
        except Exception as error:  # noqa: BLE001 a client's fault is a result
            report(name, error)


def go_on(name, write, state_of):
    """
    Writes each 20 ms, in turn alone and in a transaction, until the suite says that the change is over and 50 writes more.
    `write(id, in_transaction)` returns or raises; `state_of(error)` gives its SQLSTATE. Returns acknowledged ids.
    """
    say(f"ready-for {name}")
    acknowledged, refused, left, number = [], [], 50, 0
    deadline = time.monotonic() + 120
    while left > 0:
        if time.monotonic() > deadline:
            raise AssertionError("the change took longer than two minutes")
        if is_over(name):
            left -= 1
        number += 1
        try:
            write(number, number % 2 == 0)
            acknowledged.append(number)
        except Exception as error:  # noqa: BLE001
            state = state_of(error)
            if name == "switchover" or state not in ALLOWED:
                raise
            refused.append(state)
        time.sleep(0.02)
    if len(refused) > 4:
        raise AssertionError(f"{len(refused)} writes refused: {refused[:10]}")
    return acknowledged


def all_found(found, acknowledged):
    missing = sorted(set(acknowledged) - set(found))
    if missing:
        raise AssertionError(f"{len(missing)} acknowledged writes are lost: {missing[:10]}")
    if len(found) != len(set(found)):
        raise AssertionError("a write was carried out twice")
