<?php
// PDO: statements prepared on the server and deallocated in SQL when their object goes.
declare(strict_types=1);
require __DIR__ . '/harness.php';

function connect(array $options = [], string $more = ''): PDO
{
    $e = getenv();
    return new PDO("pgsql:host={$e['PGHOST']};port={$e['PGPORT']};dbname={$e['PGDATABASE']};sslmode=disable$more", $e['PGUSER'], $e['PGPASSWORD'], [PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION] + $options);
}

function run(PDO $c, string $text, array $values = []): PDOStatement
{
    $s = $c->prepare($text);
    $s->execute($values);
    return $s;
}

function one(PDO $c, string $text, array $values = []): mixed
{
    return run($c, $text, $values)->fetchColumn();
}

function refused(string $state, callable $call): void
{
    try {
        $call();
    } catch (PDOException $error) {
        same($error->getCode(), $state, 'SQLSTATE of ' . $error->getMessage());
        return;
    }
    throw new Exception("not refused, wanted $state");
}

function fresh(PDO $c, string $name, string $columns): string
{
    $t = table($name);
    $c->exec("DROP TABLE IF EXISTS $t; CREATE TABLE $t ($columns)");
    return $t;
}

function goes_on(string $name): void
{
    $c = connect(more: ";application_name='goes on'");
    $t = fresh($c, $name, 'i int');
    $c->exec("SET work_mem = '5MB'");
    $acknowledged = go_on($name, function (int $number, bool $inTransaction) use ($c, $t) {
        try {
            if ($inTransaction) $c->beginTransaction();
            run($c, "INSERT INTO $t VALUES (?)", [$number]);
            if ($inTransaction) $c->commit();
            return null;
        } catch (PDOException $error) {
            if ($c->inTransaction()) $c->rollBack();
            return (string) $error->getCode();
        }
    });
    all_found(run($c, "SELECT i FROM $t")->fetchAll(PDO::FETCH_COLUMN), $acknowledged);
    same(one($c, 'SHOW work_mem'), '5MB', 'setting of the session');
    same(one($c, 'SHOW application_name'), 'goes on');
}

steps([
    'connect' => function () {
        $c = connect(more: ";application_name=conformance;options='-c statement_timeout=61s'");
        same(one($c, 'SHOW application_name'), 'conformance');
        same(one($c, 'SHOW statement_timeout'), '61s');
        same(version_compare($c->getAttribute(PDO::ATTR_SERVER_VERSION), '15', '>='), true, 'version');
        same($c->quote("it's"), "'it''s'");
        // Persistent: another object of the same session; what was open is rolled back.
        for ($i = 0; $i < 3; $i++) {
            $p = connect([PDO::ATTR_PERSISTENT => true]);
            $p->beginTransaction();
            same(one($p, 'SELECT 1'), 1);
            unset($p);
        }
    },
    'types' => function () {
        foreach ([false, true] as $emulate) {
            $c = connect([PDO::ATTR_EMULATE_PREPARES => $emulate]);
            $t = fresh($c, 'types', 'i int8, n numeric, t text, b bytea, z timestamptz, a int[], j json, u uuid, x text, o bool');
            $c->exec("SET TimeZone = 'UTC'");
            $s = $c->prepare("INSERT INTO $t VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
            $row = ['9223372036854775807', NUMERIC, TEXT, BYTES, '2026-02-03 04:05:06.789012+00', '{1,NULL,3}', '{"a":[1,{"b":null}],"ü":"🌍"}', UUID, null, true];
            foreach ($row as $i => $value) $s->bindValue($i + 1, $value, $i === 3 ? PDO::PARAM_LOB : ($i === 9 ? PDO::PARAM_BOOL : ($value === null ? PDO::PARAM_NULL : PDO::PARAM_STR)));
            $s->execute();
            $got = run($c, "SELECT * FROM $t")->fetch(PDO::FETCH_NUM);
            $got[3] = stream_get_contents($got[3]);
            $row[0] = PHP_INT_MAX;
            same($got, $row);
        }
        // Large objects are kept on the server, in a transaction.
        $c->beginTransaction();
        $oid = $c->pgsqlLOBCreate();
        $lob = $c->pgsqlLOBOpen($oid, 'w');
        fwrite($lob, BYTES);
        $lob = null;
        $c->commit();
        $c->beginTransaction();
        same(stream_get_contents($c->pgsqlLOBOpen($oid)), BYTES, 'large object');
        $c->pgsqlLOBUnlink($oid);
        $c->commit();
    },
    'transactions' => function () {
        $c = connect();
        $t = fresh($c, 'tx', 'i int');
        $c->beginTransaction();
        run($c, "INSERT INTO $t VALUES (1)");
        $c->commit();
        $c->beginTransaction();
        run($c, "INSERT INTO $t VALUES (2)");
        $c->rollBack();
        $c->beginTransaction();
        run($c, "INSERT INTO $t VALUES (3)");
        $c->exec('SAVEPOINT s');
        run($c, "INSERT INTO $t VALUES (4)");
        refused('22012', fn () => run($c, 'SELECT 1/0'));
        $c->exec('ROLLBACK TO s');
        run($c, "INSERT INTO $t VALUES (5)");
        same($c->inTransaction(), true);
        $c->commit();
        same(run($c, "SELECT i FROM $t ORDER BY i")->fetchAll(PDO::FETCH_COLUMN), [1, 3, 5]);
    },
    'prepared' => function () {
        foreach ([[], [PDO::PGSQL_ATTR_DISABLE_PREPARES => true], [PDO::ATTR_EMULATE_PREPARES => true]] as $options) {
            $c = connect($options);
            $t = fresh($c, 'prepared', 'id int primary key, v text');
            $put = $c->prepare("INSERT INTO $t VALUES (:id, :v)");
            $get = $c->prepare("SELECT v FROM $t WHERE id = ?");
            for ($i = 0; $i < 100; $i++) {
                $put->execute(['id' => $i, 'v' => "v$i"]);
                $get->execute([$i]);
                same($get->fetchColumn(), "v$i");
                same(one($c, "SELECT v FROM $t WHERE id = ?", [$i]), "v$i");
            }
            $c->exec("ALTER TABLE $t ADD COLUMN w int");
            $get->execute([5]);
            same($get->fetchColumn(), 'v5');
        }
    },
    'copy' => function () {
        $c = connect();
        $t = fresh($c, 'copy', 'i int, t text');
        $lines = array_map(fn ($i) => "$i\tline ü $i\n", range(0, 4999));
        same($c->pgsqlCopyFromArray($t, $lines), true);
        same($c->pgsqlCopyToArray($t), $lines);
        refused('22P02', fn () => $c->pgsqlCopyFromArray($t, ["no number\tx\n"]));
        same(one($c, "SELECT count(*) FROM $t"), 5000);
    },
    'error' => function () {
        $c = connect();
        $t = fresh($c, 'error', 'i int primary key');
        refused('22012', fn () => run($c, 'SELECT 1/0'));
        refused('42P01', fn () => run($c, 'SELECT * FROM no_such_table'));
        refused('42601', fn () => $c->exec('SELEC 1'));
        run($c, "INSERT INTO $t VALUES (1)");
        refused('23505', fn () => run($c, "INSERT INTO $t VALUES (?)", [1]));
        $c->beginTransaction();
        refused('22012', fn () => run($c, 'SELECT 1/0'));
        refused('25P02', fn () => run($c, 'SELECT 1'));
        $c->rollBack();
        same(one($c, 'SELECT 5'), 5);
    },
    'read-your-writes' => function () {
        $c = connect();
        $t = fresh($c, 'ryw', 'i serial, t text');
        for ($i = 1; $i <= 200; $i++) {
            run($c, "INSERT INTO $t (t) VALUES (?)", ["v$i"]);
            same($c->lastInsertId(), (string) $i, 'last id');
            same(one($c, "SELECT t FROM $t WHERE i = ?", [$i]), "v$i");
        }
    },
    'large' => function () {
        ini_set('memory_limit', '512M');
        $c = connect();
        same(count(run($c, "SELECT repeat('x', 1000) FROM generate_series(1, 10000)")->fetchAll()), 10000);
        same(strlen(one($c, "SELECT repeat('y', 10000000)")), 10000000);
        same(one($c, 'SELECT length(?::text)', [str_repeat('z', 10000000)]), 10000000);
    },
    'notify' => function () {
        $listener = connect();
        $sender = connect();
        $listener->exec('LISTEN c_pdo_channel');
        run($sender, "SELECT pg_notify('c_pdo_channel', ?)", ['one']);
        same($listener->pgsqlGetNotify(PDO::FETCH_NUM, 10000)[2] ?? null, 'one');
    },
    'cursor' => function () {
        $c = connect();
        $c->beginTransaction();
        $s = $c->prepare('SELECT i FROM generate_series(1, 1000) i', [PDO::ATTR_CURSOR => PDO::CURSOR_SCROLL]);
        $s->execute();
        same($s->fetchAll(PDO::FETCH_COLUMN), range(1, 1000));
        $s->execute();
        same($s->fetch(PDO::FETCH_NUM, PDO::FETCH_ORI_ABS, 500)[0], 500);
        same($s->fetch(PDO::FETCH_NUM, PDO::FETCH_ORI_PRIOR)[0], 499);
        $c->commit();
    },
    'switchover' => fn () => goes_on('switchover'),
    'crash' => fn () => goes_on('crash'),
]);
