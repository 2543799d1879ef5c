<?php
// The extension pgsql: libpq's functions.
declare(strict_types=1);
require __DIR__ . '/harness.php';

function connect(string $more = ''): PgSql\Connection
{
    $e = getenv();
    return pg_connect("host={$e['PGHOST']} port={$e['PGPORT']} user={$e['PGUSER']} password={$e['PGPASSWORD']} dbname={$e['PGDATABASE']} sslmode=disable $more", PGSQL_CONNECT_FORCE_NEW);
}

/** Result, or the SQLSTATE as a string. */
function ask(PgSql\Connection $c, string $text, ?array $values = null): PgSql\Result|string
{
    if ($values === null) pg_send_query($c, $text);
    else pg_send_query_params($c, $text, $values);
    $last = '';
    while ($r = pg_get_result($c)) {
        $state = pg_result_error_field($r, PGSQL_DIAG_SQLSTATE);
        // libpq's own faults, such as a lost connection, have no SQLSTATE.
        $isLost = in_array(pg_result_status($r), [PGSQL_FATAL_ERROR, PGSQL_BAD_RESPONSE], true);
        $last = $state ?: ($isLost ? 'no SQLSTATE' : $r);
    }
    return $last;
}

function run(PgSql\Connection $c, string $text, ?array $values = null): PgSql\Result
{
    $r = ask($c, $text, $values);
    if (is_string($r)) throw new Exception("$r: $text: " . pg_last_error($c));
    return $r;
}

function one(PgSql\Connection $c, string $text, ?array $values = null): mixed
{
    $r = run($c, $text, $values);
    return pg_num_rows($r) ? pg_fetch_result($r, 0, 0) : null;
}

function fresh(PgSql\Connection $c, string $name, string $columns): string
{
    $t = table($name);
    run($c, "DROP TABLE IF EXISTS $t; CREATE TABLE $t ($columns)");
    return $t;
}

function goes_on(string $name): void
{
    $c = connect("application_name='goes on'");
    $t = fresh($c, $name, 'i int');
    run($c, "SET work_mem = '5MB'");
    $acknowledged = go_on($name, function (int $number, bool $inTransaction) use ($c, $t) {
        if ($inTransaction) run($c, 'BEGIN');
        $r = ask($c, "INSERT INTO $t VALUES (\$1)", [$number]);
        if ($inTransaction && !is_string($r)) $r = ask($c, 'COMMIT');
        elseif ($inTransaction) run($c, 'ROLLBACK');
        return is_string($r) ? $r : null;
    });
    all_found(array_map('intval', pg_fetch_all_columns(run($c, "SELECT i FROM $t"))), $acknowledged);
    same(one($c, 'SHOW work_mem'), '5MB', 'setting of the session');
    same(one($c, 'SHOW application_name'), 'goes on');
    pg_close($c);
}

steps([
    'connect' => function () {
        $c = connect("application_name=conformance options='-c statement_timeout=61s'");
        same(one($c, 'SHOW application_name'), 'conformance');
        same(one($c, 'SHOW statement_timeout'), '61s');
        same(pg_client_encoding($c), 'UTF8');
        same(pg_parameter_status($c, 'application_name'), 'conformance');
        same(pg_ping($c), true);
        same(count(pg_meta_data($c, 'pg_catalog.pg_class')) > 10, true);
        // A persistent connection is reset before its next use.
        $e = getenv();
        $p = fn () => pg_pconnect("host={$e['PGHOST']} port={$e['PGPORT']} user={$e['PGUSER']} password={$e['PGPASSWORD']} dbname={$e['PGDATABASE']} sslmode=disable");
        $first = $p();
        run($first, "SET work_mem = '7MB'");
        pg_close($first);
        one($p(), 'SELECT 1');
    },
    'types' => function () {
        $c = connect();
        $t = fresh($c, 'types', 'i int8, n numeric, t text, b bytea, z timestamptz, a int[], j json, u uuid, x text');
        run($c, "SET TimeZone = 'UTC'");
        $row = ['9223372036854775807', NUMERIC, TEXT, pg_escape_bytea($c, BYTES), '2026-02-03 04:05:06.789012+00', '{1,NULL,3}', '{"a":[1,{"b":null}],"ü":"🌍"}', UUID, null];
        run($c, "INSERT INTO $t VALUES (\$1,\$2,\$3,\$4,\$5,\$6,\$7,\$8,\$9)", $row);
        $got = pg_fetch_row(run($c, "SELECT * FROM $t"));
        $got[3] = pg_unescape_bytea($got[3]);
        $row[3] = BYTES;
        same($got, $row);
        same(pg_insert($c, $t, ['i' => 1, 't' => "it's"]) !== false, true);
        same(pg_select($c, $t, ['i' => 1])[0]['t'], "it's");
    },
    'transactions' => function () {
        $c = connect();
        $t = fresh($c, 'tx', 'i int');
        run($c, "BEGIN; INSERT INTO $t VALUES (1); COMMIT");
        foreach (['BEGIN', "INSERT INTO $t VALUES (2)", 'ROLLBACK', 'BEGIN', "INSERT INTO $t VALUES (3)", 'SAVEPOINT s', "INSERT INTO $t VALUES (4)"] as $text) run($c, $text);
        same(ask($c, 'SELECT 1/0'), '22012');
        same(pg_transaction_status($c), PGSQL_TRANSACTION_INERROR);
        foreach (['ROLLBACK TO s', "INSERT INTO $t VALUES (5)", 'COMMIT'] as $text) run($c, $text);
        same(pg_fetch_all_columns(run($c, "SELECT i FROM $t ORDER BY i")), ['1', '3', '5']);
    },
    'prepared' => function () {
        $c = connect();
        $t = fresh($c, 'prepared', 'id int primary key, v text');
        pg_prepare($c, 'put', "INSERT INTO $t VALUES (\$1, \$2)");
        pg_prepare($c, 'get', "SELECT v FROM $t WHERE id = \$1");
        for ($i = 0; $i < 100; $i++) {
            pg_execute($c, 'put', [$i, "v$i"]);
            same(pg_fetch_result(pg_execute($c, 'get', [$i]), 0, 0), "v$i");
            same(one($c, "SELECT v FROM $t WHERE id = \$1", [$i]), "v$i");
        }
        run($c, "ALTER TABLE $t ADD COLUMN w int");
        same(pg_fetch_result(pg_execute($c, 'get', [5]), 0, 0), 'v5');
        run($c, 'DEALLOCATE get');
        pg_prepare($c, 'get', 'SELECT $1::text');
        same(pg_fetch_result(pg_execute($c, 'get', ['again']), 0, 0), 'again');
    },
    'copy' => function () {
        $c = connect();
        $t = fresh($c, 'copy', 'i int, t text');
        $lines = array_map(fn ($i) => "$i\tline ü $i\n", range(0, 4999));
        same(pg_copy_from($c, $t, $lines), true);
        same(pg_copy_to($c, $t), $lines);
        pg_query($c, "COPY $t FROM STDIN");
        pg_put_line($c, "7777\tx\n");
        pg_put_line($c, "\\.\n");
        pg_end_copy($c);
        same(one($c, "SELECT count(*) FROM $t"), '5001');
        same(@pg_copy_from($c, $t, ["no number\tx\n"]), false);
        same(one($c, 'SELECT 5'), '5');
    },
    'cancel' => function () {
        $c = connect();
        $started = microtime(true);
        pg_send_query($c, 'SELECT pg_sleep(30)');
        usleep(300000);
        same(pg_cancel_query($c), true);
        same(microtime(true) - $started < 5, true, 'in time');
        same(one($c, 'SELECT 5'), '5');
    },
    'error' => function () {
        $c = connect();
        $t = fresh($c, 'error', 'i int primary key');
        same(ask($c, 'SELECT 1/0'), '22012');
        same(ask($c, 'SELECT * FROM no_such_table'), '42P01');
        same(ask($c, 'SELEC 1'), '42601');
        run($c, "INSERT INTO $t VALUES (1)");
        same(ask($c, "INSERT INTO $t VALUES (\$1)", [1]), '23505');
        run($c, 'BEGIN');
        same(ask($c, 'SELECT 1/0'), '22012');
        same(ask($c, 'SELECT 1'), '25P02');
        run($c, 'ROLLBACK');
        run($c, "DO \$\$ BEGIN RAISE NOTICE 'said'; END \$\$");
        same(pg_last_notice($c), 'NOTICE:  said');
        same(one($c, 'SELECT 5'), '5');
    },
    'read-your-writes' => function () {
        $c = connect();
        $t = fresh($c, 'ryw', 'i int, t text');
        for ($i = 0; $i < 200; $i++) {
            run($c, "INSERT INTO $t VALUES (\$1, \$2)", [$i, "v$i"]);
            same(one($c, "SELECT t FROM $t WHERE i = \$1", [$i]), "v$i");
        }
    },
    'large' => function () {
        ini_set('memory_limit', '512M');
        $c = connect();
        same(pg_num_rows(run($c, "SELECT i, repeat('x', 1000) FROM generate_series(1, 10000) i")), 10000);
        same(strlen(one($c, "SELECT repeat('y', 10000000)")), 10000000);
        same(one($c, 'SELECT length($1::text)', [str_repeat('z', 10000000)]), '10000000');
    },
    'notify' => function () {
        $listener = connect();
        $sender = connect();
        run($listener, 'LISTEN c_php_channel');
        run($sender, "SELECT pg_notify('c_php_channel', \$1)", ['one']);
        run($sender, "NOTIFY c_php_channel, 'two'");
        $seen = [];
        for ($i = 0; $i < 500 && count($seen) < 2; $i++) {
            if ($n = pg_get_notify($listener)) $seen[] = $n['payload'];
            else usleep(20000);
        }
        same($seen, ['one', 'two']);
    },
    'cursor' => function () {
        $c = connect();
        run($c, 'BEGIN');
        run($c, 'DECLARE numbers CURSOR FOR SELECT i FROM generate_series(1, 1000) i');
        $all = [];
        while ($rows = pg_fetch_all_columns(run($c, 'FETCH 100 FROM numbers'))) array_push($all, ...$rows);
        same(array_map('intval', $all), range(1, 1000));
        run($c, 'COMMIT');
    },
    'switchover' => fn () => goes_on('switchover'),
    'crash' => fn () => goes_on('crash'),
]);
