import django
from django.conf import settings

from harness import DATABASE, HOST, PASSWORD, PORT, USER, run, same

settings.configure(
    DATABASES={"default": {"ENGINE": "django.db.backends.postgresql", "HOST": HOST, "PORT": PORT, "USER": USER, "PASSWORD": PASSWORD, "NAME": DATABASE, "OPTIONS": {"sslmode": "disable"}}},
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "django.contrib.sessions"],
    USE_TZ=True, TIME_ZONE="Europe/Vienna", DEFAULT_AUTO_FIELD="django.db.models.AutoField",
)
django.setup()

from django.contrib.auth.models import Group, Permission, User  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import IntegrityError, connection, transaction  # noqa: E402


def step_migrate():
    # Its own migrations, some thirty of them, each in a transaction; twice.
    call_command("migrate", verbosity=0)
    call_command("migrate", verbosity=0)
    assert Permission.objects.count() > 10
    assert "auth_user" in connection.introspection.table_names()
    call_command("flush", verbosity=0, interactive=False)


def step_read_your_writes():
    for i in range(50):
        user = User.objects.create(username=f"user {i}", last_name="Grüße")
        user.groups.add(Group.objects.create(name=f"group {i}"))
        same(list(User.objects.filter(groups__name=f"group {i}").values_list("username", flat=True)), [f"user {i}"])
        User.objects.filter(pk=user.pk).update(last_name=f"renamed {i}")
        user.refresh_from_db()
        same(user.last_name, f"renamed {i}")
        assert User.objects.prefetch_related("groups").get(pk=user.pk).groups.all()[0].name == f"group {i}"


def step_transactions():
    with transaction.atomic():
        Group.objects.create(name="outer")
        try:
            with transaction.atomic():
                Group.objects.create(name="outer")
        except IntegrityError:
            pass
        same(Group.objects.select_for_update().get(name="outer").name, "outer")
    try:
        with transaction.atomic():
            Group.objects.create(name="rolled back")
            raise ZeroDivisionError
    except ZeroDivisionError:
        pass
    same(Group.objects.filter(name__in=["outer", "rolled back"]).count(), 1)
    said = []
    with transaction.atomic():
        transaction.on_commit(lambda: said.append(Group.objects.filter(name="committed").count()))
        Group.objects.create(name="committed")
    same(said, [1])


def step_upsert():
    for i in range(20):
        user, created = User.objects.update_or_create(username="same", defaults={"last_name": str(i)})
        same((user.last_name, created), (str(i), i == 0))
        same(User.objects.get_or_create(username="same")[1], False)
    Group.objects.bulk_create([Group(name="bulk"), Group(name="bulk")], ignore_conflicts=True)
    same(Group.objects.filter(name="bulk").count(), 1)


def step_stream():
    # A cursor of the server, WITH HOLD outside a transaction.
    same(len(list(User.objects.order_by("id").iterator(chunk_size=7))), 51)
    with transaction.atomic():
        same(len(list(User.objects.order_by("id").iterator(chunk_size=7))), 51)


run({"migrate": step_migrate, "read-your-writes": step_read_your_writes, "transactions": step_transactions, "upsert": step_upsert, "stream": step_stream})
