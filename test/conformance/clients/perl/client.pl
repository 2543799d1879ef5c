use strict;
use warnings;
use utf8;
use open qw(:std :encoding(UTF-8));
use DBI;
use DBD::Pg qw(:pg_types :async);
use Time::HiRes qw(sleep time);

# DBD::Pg: prepared on the server, pg_placeholder_dollaronly, COPY, asynchronous queries and their cancel.
$| = 1;
my ($client, $signals, @wanted) = @ARGV;
my $TEXT = "Grüße, 世界 🌍 'quoted' \\ \"double\"\nsecond line";

sub connect_db {
    my (%more) = @_;
    my $dsn = "dbi:Pg:dbname=$ENV{PGDATABASE};host=$ENV{PGHOST};port=$ENV{PGPORT};sslmode=disable" . ($more{dsn} // '');
    return DBI->connect($dsn, $ENV{PGUSER}, $ENV{PGPASSWORD}, {AutoCommit => 1, RaiseError => 1, PrintError => 0, PrintWarn => 0, pg_enable_utf8 => 1});
}

sub same {
    my ($got, $wanted, $what) = @_;
    $got //= '(undef)';
    $wanted //= '(undef)';
    die(($what // 'value') . ": got " . substr($got, 0, 200) . ", wanted " . substr($wanted, 0, 200) . "\n") if $got ne $wanted;
}

sub one { my ($db, $text, @values) = @_; return ($db->selectrow_array($text, undef, @values))[0] }

sub refused {
    my ($db, $state, $text, @values) = @_;
    eval { $db->do($text, undef, @values); 1 } and die "$text was not refused\n";
    same($db->state, $state, "SQLSTATE of $@");
}

sub fresh {
    my ($db, $name, $columns) = @_;
    my $table = "c_${client}_$name";
    $db->do("DROP TABLE IF EXISTS $table");
    $db->do("CREATE TABLE $table ($columns)");
    return $table;
}

my %steps;

$steps{connect} = sub {
    my $db = connect_db(dsn => ";application_name=conformance;options='-c statement_timeout=61s'");
    same(one($db, 'SHOW application_name'), 'conformance');
    same(one($db, 'SHOW statement_timeout'), '61s');
    die "ping\n" unless $db->ping > 0;
    die "version\n" unless $db->{pg_server_version} >= 150000;
    die "tables\n" unless @{$db->table_info('', 'pg_catalog', 'pg_class', '')->fetchall_arrayref};
    same($db->quote("it's"), "'it''s'");
};

$steps{types} = sub {
    my $db = connect_db();
    my $t = fresh($db, 'types', 'i int8, n numeric, t text, b bytea, z timestamptz, a int[], s text[], j json, u uuid, x text');
    $db->do("SET TimeZone = 'UTC'");
    my $bytes = join('', map { chr } (0, 1, 39, 92, 254, 255));
    my $put = $db->prepare("INSERT INTO $t VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
    $put->bind_param(4, undef, {pg_type => PG_BYTEA});
    $put->execute('9223372036854775807', '12345678901234567890.123456789', $TEXT, $bytes, '2026-02-03 04:05:06.789012+00', [1, undef, 3], ['a', 'b c', 'd,"e'],
        '{"a":[1,{"b":null}],"ü":"🌍"}', '0198c2f0-5b7a-7c3d-8e4f-0123456789ab', undef);
    for (1 .. 4) {
        my ($i, $n, $text, $b, $z, $a, $s, $j, $u, $x) = $db->selectrow_array("SELECT * FROM $t");
        same($i, '9223372036854775807');
        same($n, '12345678901234567890.123456789');
        same($text, $TEXT);
        same($b, $bytes);
        same($z, '2026-02-03 04:05:06.789012+00');
        same(join('|', map { $_ // 'NULL' } @$a), '1|NULL|3');
        same(join('|', @$s), 'a|b c|d,"e');
        same($j, '{"a":[1,{"b":null}],"ü":"🌍"}');
        same($u, '0198c2f0-5b7a-7c3d-8e4f-0123456789ab');
        same($x, undef);
    }
};

$steps{transactions} = sub {
    my $db = connect_db();
    my $t = fresh($db, 'tx', 'i int');
    $db->begin_work;
    $db->do("INSERT INTO $t VALUES (1)");
    $db->commit;
    $db->begin_work;
    $db->do("INSERT INTO $t VALUES (2)");
    $db->rollback;
    $db->{AutoCommit} = 0;
    $db->do("INSERT INTO $t VALUES (3)");
    $db->pg_savepoint('s');
    $db->do("INSERT INTO $t VALUES (4)");
    refused($db, '22012', 'SELECT 1/0');
    same($db->ping, 4, 'ping in a failed transaction');
    $db->pg_rollback_to('s');
    $db->do("INSERT INTO $t VALUES (5)");
    $db->pg_release('s');
    $db->commit;
    same(join(',', @{$db->selectcol_arrayref("SELECT i FROM $t ORDER BY i")}), '1,3,5');
    $db->commit;
    $db->{ReadOnly} = 1;
    same(one($db, "SELECT count(*) FROM $t"), 3);
    refused($db, '25006', "INSERT INTO $t VALUES (6)");
    $db->rollback;
};

$steps{prepared} = sub {
    my $db = connect_db();
    my $t = fresh($db, 'prepared', 'id int primary key, v text');
    for my $now (0, 1) {
        local $db->{pg_prepare_now} = $now;
        my $put = $db->prepare("INSERT INTO $t VALUES (?, ?)");
        my $get = $db->prepare("SELECT v FROM $t WHERE id = ?");
        for my $n (0 .. 99) {
            my $i = $n + 1000 * $now;
            $put->execute($i, "v$i");
            $get->execute($i);
            same($get->fetchall_arrayref->[0][0], "v$i");
        }
        $db->do("ALTER TABLE $t ADD COLUMN w$now int");
        $get->execute(5);
        same($get->fetchall_arrayref->[0][0], 'v5');
    }
    # Each handle is deallocated when it goes: by name, in SQL.
    for my $i (0 .. 150) {
        my $q = $db->prepare("SELECT ?::int + $i");
        $q->execute($i);
        same($q->fetchall_arrayref->[0][0], 2 * $i);
    }
    $db->{pg_server_prepare} = 0;
    same(one($db, "SELECT v FROM $t WHERE id = ?", 7), 'v7');
    my $dollar = $db->prepare('SELECT $1::int + $2::int');
    $dollar->execute(2, 3);
    same($dollar->fetchall_arrayref->[0][0], 5);
};

$steps{copy} = sub {
    my $db = connect_db();
    my $t = fresh($db, 'copy', 'i int, t text');
    $db->do("COPY $t FROM STDIN");
    $db->pg_putcopydata("$_\tline ü $_\n") for 0 .. 9999;
    $db->pg_putcopyend;
    same(one($db, "SELECT count(*) FROM $t"), 10000);
    $db->do("COPY (SELECT * FROM $t ORDER BY i) TO STDOUT");
    my ($line, $n) = ('', 0);
    while ($db->pg_getcopydata($line) >= 0) { same($line, "$n\tline ü $n\n"); $n++ }
    same($n, 10000);
    eval { $db->do("COPY $t FROM STDIN"); $db->pg_putcopydata("no number\tx\n"); $db->pg_putcopyend; 1 } and die "wrong data was taken\n";
    same($db->state, '22P02');
    same(one($db, "SELECT count(*) FROM $t"), 10000);
};

$steps{cancel} = sub {
    my $db = connect_db();
    my $started = time;
    $db->do('SELECT pg_sleep(30)', {pg_async => PG_ASYNC});
    sleep 0.3;
    $db->pg_cancel;
    die "late\n" if time - $started > 5;
    same(one($db, 'SELECT 5'), 5);
};

$steps{error} = sub {
    my $db = connect_db();
    my $t = fresh($db, 'error', 'i int primary key');
    refused($db, '22012', 'SELECT 1/0');
    refused($db, '42P01', 'SELECT * FROM no_such_table');
    refused($db, '42601', 'SELEC 1');
    $db->do("INSERT INTO $t VALUES (1)");
    refused($db, '23505', "INSERT INTO $t VALUES (?)", 1);
    same($db->pg_error_field('constraint'), "${t}_pkey");
    $db->begin_work;
    refused($db, '22012', 'SELECT 1/0');
    refused($db, '25P02', 'SELECT 1');
    $db->rollback;
    my $said = '';
    local $SIG{__WARN__} = sub { $said .= $_[0] };
    $db->{PrintWarn} = 1;
    $db->do("DO \$\$ BEGIN RAISE NOTICE 'said'; END \$\$");
    die "no notice: $said\n" unless $said =~ /said/;
    same(one($db, 'SELECT 5'), 5);
};

$steps{'read-your-writes'} = sub {
    my $db = connect_db();
    my $t = fresh($db, 'ryw', 'i int, t text');
    for my $i (0 .. 199) {
        $db->do("INSERT INTO $t VALUES (?, ?)", undef, $i, "v$i");
        same(one($db, "SELECT t FROM $t WHERE i = ?", $i), "v$i");
    }
};

$steps{large} = sub {
    my $db = connect_db();
    same(scalar @{$db->selectcol_arrayref("SELECT repeat('x', 1000) FROM generate_series(1, 10000)")}, 10000);
    same(length one($db, "SELECT repeat('y', 10000000)"), 10_000_000);
    same(one($db, 'SELECT length(?::text)', 'z' x 10_000_000), 10_000_000);
};

$steps{notify} = sub {
    my ($listener, $sender) = (connect_db(), connect_db());
    $listener->do('LISTEN c_dbd_pg_channel');
    $sender->do("SELECT pg_notify('c_dbd_pg_channel', ?)", undef, 'one');
    $sender->do("NOTIFY c_dbd_pg_channel, 'two'");
    my @seen;
    for (1 .. 500) {
        while (my $n = $listener->pg_notifies) { push @seen, $n->[2] }
        last if @seen == 2;
        sleep 0.02;
    }
    same(join(',', @seen), 'one,two');
};

$steps{cursor} = sub {
    my $db = connect_db();
    $db->begin_work;
    $db->do('DECLARE numbers CURSOR FOR SELECT i FROM generate_series(1, 1000) i');
    my @all;
    while (1) {
        my $rows = $db->selectcol_arrayref('FETCH 100 FROM numbers');
        last unless @$rows;
        push @all, @$rows;
    }
    same(join(',', @all), join(',', 1 .. 1000));
    $db->commit;
};

sub goes_on {
    my ($name) = @_;
    my $db = connect_db(dsn => ';application_name=\'goes on\'');
    my $t = fresh($db, $name, 'i int');
    $db->do("SET work_mem = '5MB'");
    print "ready-for $name\n";
    my (%acknowledged, @states);
    my ($left, $number, $deadline) = (50, 0, time + 120);
    while ($left > 0) {
        die "the change took longer than two minutes\n" if time > $deadline;
        $left-- if -e "$signals/$name";
        $number++;
        if (eval {
            $db->begin_work if $number % 2 == 0;
            $db->do("INSERT INTO $t VALUES (?)", undef, $number);
            $db->commit if $number % 2 == 0;
            1;
        }) { $acknowledged{$number} = 1 }
        else {
            my ($state, $error) = ($db->state, $@);
            die "$state $error\n" if $name eq 'switchover' or $state !~ /^(40001|08007)$/;
            push @states, $state;
            $db->rollback unless $db->{AutoCommit};
        }
        sleep 0.02;
    }
    die "writes refused: @states\n" if @states > 4;
    my $found = $db->selectcol_arrayref("SELECT i FROM $t");
    my %found;
    $found{$_}++ for @$found;
    my @lost = grep { !$found{$_} } keys %acknowledged;
    die "acknowledged writes are lost: @lost\n" if @lost;
    die "a write was carried out twice\n" if grep { $_ > 1 } values %found;
    same(one($db, 'SHOW work_mem'), '5MB', 'setting of the session');
    same(one($db, 'SHOW application_name'), 'goes on');
}

$steps{$_} = do { my $name = $_; sub { goes_on($name) } } for qw(switchover crash);

for my $name (@wanted) {
    if (!$steps{$name}) { print "skip $name - the driver has no such thing\n"; next }
    if (eval { $steps{$name}->(); 1 }) { print "ok $name\n" }
    else { my $why = $@; $why =~ s/\n/ | /g; print "not ok $name - $why\n" }
}
