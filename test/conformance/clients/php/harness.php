<?php
// What both PHP clients share: the order of the steps, the lines that the suite reads, the loop that goes on through a change of leader.
declare(strict_types=1);
set_error_handler(function (int $level, string $message) {
    if (error_reporting() & $level) throw new ErrorException($message);
});
[, $client, $signals] = $argv;
const TEXT = "Grüße, 世界 🌍 'quoted' \\ \"double\"\nsecond line";
const BYTES = "\x00\x01'\\\xfe\xff";
const UUID = '0198c2f0-5b7a-7c3d-8e4f-0123456789ab';
const NUMERIC = '12345678901234567890.123456789';

function same(mixed $got, mixed $wanted, string $what = 'value'): void
{
    if ($got !== $wanted) throw new Exception("$what: got " . substr(var_export($got, true), 0, 200) . ', wanted ' . substr(var_export($wanted, true), 0, 200));
}

function table(string $name): string
{
    global $client;
    return "c_{$client}_$name";
}

function steps(array $steps): void
{
    global $argv;
    foreach (array_slice($argv, 3) as $name) {
        try {
            if (!isset($steps[$name])) {
                echo "skip $name - the driver has no such thing\n";
                continue;
            }
            $steps[$name]();
            echo "ok $name\n";
        } catch (Throwable $error) {
            if (getenv('TRACE')) fwrite(STDERR, $error . "\n");
            echo "not ok $name - " . str_replace("\n", ' | ', $error->getMessage()) . "\n";
        }
    }
}

/** $write(number, inTransaction) returns null or the SQLSTATE that it was refused with. */
function go_on(string $name, callable $write): array
{
    global $signals;
    echo "ready-for $name\n";
    $acknowledged = $states = [];
    $deadline = time() + 120;
    for ($number = 1, $left = 50; $left > 0; $number++) {
        if (time() > $deadline) throw new Exception('the change took longer than two minutes');
        clearstatcache();
        if (file_exists("$signals/$name")) $left--;
        $state = $write($number, $number % 2 === 0);
        if ($state === null) $acknowledged[] = $number;
        elseif ($name === 'switchover' || !in_array($state, ['40001', '08007'], true)) throw new Exception("write refused with $state");
        else $states[] = $state;
        usleep(20000);
    }
    if (count($states) > 4) throw new Exception('writes refused: ' . implode(' ', $states));
    return $acknowledged;
}

function all_found(array $found, array $acknowledged): void
{
    $missing = array_diff($acknowledged, $found);
    if ($missing) throw new Exception('acknowledged writes are lost: ' . implode(' ', array_slice($missing, 0, 10)));
    same(count(array_unique($found)), count($found), 'writes carried out twice');
}
