/* libpq, the C library of PostgreSQL itself, and its pipeline mode. */
#include <libpq-fe.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <time.h>
#include <unistd.h>

static jmp_buf failed;
static char why[2000], table_name[64];
static const char *client_name, *signals;
static PGconn *open_connections[8];
static int open_count;

static void fail(const char *format, ...) {
  va_list args;
  va_start(args, format);
  vsnprintf(why, sizeof why, format, args);
  va_end(args);
  for (char *c = why; *c; c++) if (*c == '\n') *c = '|';
  longjmp(failed, 1);
}

static PGconn *connect_with(const char *more) {
  char info[300];
  snprintf(info, sizeof info, "sslmode=disable %s", more);
  PGconn *c = PQconnectdb(info);
  if (PQstatus(c) != CONNECTION_OK) fail("connect: %s", PQerrorMessage(c));
  open_connections[open_count++] = c;
  return c;
}

static void expect(PGresult *r, ExecStatusType status, const char *what) {
  if (PQresultStatus(r) != status)
    fail("%.200s: %s %s %s", what, PQresStatus(PQresultStatus(r)), PQresultErrorField(r, PG_DIAG_SQLSTATE), PQresultErrorMessage(r));
}

static PGresult *query(PGconn *c, const char *text) {
  PGresult *r = PQexec(c, text);
  expect(r, PQnfields(r) > 0 ? PGRES_TUPLES_OK : PGRES_COMMAND_OK, text);
  return r;
}

static void run(PGconn *c, const char *format, ...) {
  char text[1000];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  PQclear(query(c, text));
}

static void same(const char *got, const char *wanted, const char *what) {
  if (got == NULL || strcmp(got, wanted) != 0) fail("%s: got %.200s, wanted %.200s", what, got ? got : "(null)", wanted);
}

static void is(PGconn *c, const char *wanted, const char *format, ...) {
  char text[1000];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  PGresult *r = query(c, text);
  same(PQntuples(r) ? PQgetvalue(r, 0, 0) : NULL, wanted, text);
  PQclear(r);
}

static PGresult *refused(PGconn *c, const char *state, const char *format, ...) {
  char text[1000];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  PGresult *r = PQexec(c, text);
  if (PQresultStatus(r) != PGRES_FATAL_ERROR) fail("%s: not refused", text);
  same(PQresultErrorField(r, PG_DIAG_SQLSTATE), state, text);
  return r;
}

static const char *fresh(PGconn *c, const char *name, const char *columns) {
  snprintf(table_name, sizeof table_name, "c_%s_%s", client_name, name);
  run(c, "SET client_min_messages = warning");
  run(c, "DROP TABLE IF EXISTS %s; CREATE TABLE %s (%s)", table_name, table_name, columns);
  run(c, "RESET client_min_messages");
  return table_name;
}

static void pause_ms(int ms) {
  struct timespec t = {ms / 1000, (ms % 1000) * 1000000L};
  nanosleep(&t, NULL);
}

static void step_connect(void) {
  PGconn *c = connect_with("application_name=conformance options='-c statement_timeout=61s -c DateStyle=German'");
  is(c, "conformance", "SHOW application_name");
  is(c, "61s", "SHOW statement_timeout");
  same(PQparameterStatus(c, "application_name"), "conformance", "parameter status");
  same(PQparameterStatus(c, "DateStyle"), "German, DMY", "parameter status");
  run(c, "SET DateStyle = 'ISO, YMD'");
  same(PQparameterStatus(c, "DateStyle"), "ISO, YMD", "parameter status after SET");
  if (PQserverVersion(c) < 150000 || PQbackendPID(c) <= 0) fail("version %d, pid %d", PQserverVersion(c), PQbackendPID(c));
  if (PQtransactionStatus(c) != PQTRANS_IDLE) fail("not idle");
  if (PQping("sslmode=disable") != PQPING_OK) fail("ping");
  PQreset(c);
  is(c, "conformance", "SHOW application_name");
}

static void step_types(void) {
  PGconn *c = connect_with("");
  const char *t = fresh(c, "types", "i int8, n numeric, t text, b bytea, z timestamptz, a int[], s text[], j json, u uuid, x text");
  const char *values[10] = {"9223372036854775807", "12345678901234567890.123456789", "Grüße, 世界 🌍 'q' \\ \"d\"\nsecond", "\\x000127fe",
    "2026-02-03 04:05:06.789012+00", "{1,NULL,3}", "{a,\"b c\",\"d,\\\"e\"}", "{\"a\":[1,{\"b\":null}]}", "0198c2f0-5b7a-7c3d-8e4f-0123456789ab", NULL};
  char text[200];
  run(c, "SET TimeZone = 'UTC'");
  snprintf(text, sizeof text, "INSERT INTO %s VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10)", t);
  PGresult *r = PQexecParams(c, text, 10, NULL, values, NULL, NULL, 0);
  expect(r, PGRES_COMMAND_OK, text);
  same(PQcmdTuples(r), "1", "rows");
  PQclear(r);
  snprintf(text, sizeof text, "SELECT * FROM %s", t);
  r = PQexecParams(c, text, 0, NULL, NULL, NULL, NULL, 0);
  expect(r, PGRES_TUPLES_OK, text);
  for (int i = 0; i < 9; i++) same(PQgetvalue(r, 0, i), values[i], PQfname(r, i));
  if (!PQgetisnull(r, 0, 9)) fail("not null");
  PQclear(r);
  r = PQexecParams(c, text, 0, NULL, NULL, NULL, NULL, 1);
  expect(r, PGRES_TUPLES_OK, text);
  if (PQgetlength(r, 0, 0) != 8 || PQgetlength(r, 0, 3) != 4 || PQgetlength(r, 0, 8) != 16) fail("binary lengths");
  PQclear(r);
  r = PQfn(c, 1344 /* sqrt */, &(int){0}, &(int){0}, 1, NULL, 0);
  PQclear(r); /* refused for its arguments: the session goes on */
  is(c, "5", "SELECT 5");
}

static void step_transactions(void) {
  PGconn *c = connect_with("");
  const char *t = fresh(c, "tx", "i int");
  run(c, "BEGIN");
  if (PQtransactionStatus(c) != PQTRANS_INTRANS) fail("not in a transaction");
  run(c, "INSERT INTO %s VALUES (1)", t);
  run(c, "COMMIT");
  run(c, "BEGIN; INSERT INTO %s VALUES (2); ROLLBACK", t);
  run(c, "BEGIN");
  run(c, "INSERT INTO %s VALUES (3)", t);
  run(c, "SAVEPOINT s");
  run(c, "INSERT INTO %s VALUES (4)", t);
  PQclear(refused(c, "22012", "SELECT 1/0"));
  if (PQtransactionStatus(c) != PQTRANS_INERROR) fail("not in a failed transaction");
  run(c, "ROLLBACK TO s");
  run(c, "INSERT INTO %s VALUES (5)", t);
  run(c, "COMMIT AND CHAIN");
  if (PQtransactionStatus(c) != PQTRANS_INTRANS) fail("not chained");
  run(c, "ROLLBACK");
  is(c, "{1,3,5}", "SELECT array_agg(i ORDER BY i) FROM %s", t);
  PGresult *r = PQexec(c, "SELECT 1; SELECT 2; SELECT 1/0; SELECT 3");
  same(PQresultErrorField(r, PG_DIAG_SQLSTATE), "22012", "several statements");
  PQclear(r);
  PQclear(refused(c, "25001", "BEGIN; VACUUM"));
  run(c, "ROLLBACK");
}

static void step_prepared(void) {
  PGconn *c = connect_with("");
  const char *t = fresh(c, "prepared", "id int primary key, v text");
  char text[200], number[20], value[20];
  snprintf(text, sizeof text, "INSERT INTO %s VALUES ($1, $2)", t);
  expect(PQprepare(c, "put", text, 0, NULL), PGRES_COMMAND_OK, "prepare put");
  snprintf(text, sizeof text, "SELECT v FROM %s WHERE id = $1", t);
  expect(PQprepare(c, "get", text, 0, NULL), PGRES_COMMAND_OK, "prepare get");
  for (int i = 0; i < 100; i++) {
    snprintf(number, sizeof number, "%d", i);
    snprintf(value, sizeof value, "v%d", i);
    PGresult *r = PQexecPrepared(c, "put", 2, (const char *[]){number, value}, NULL, NULL, 0);
    expect(r, PGRES_COMMAND_OK, "put");
    PQclear(r);
    r = PQexecPrepared(c, "get", 1, (const char *[]){number}, NULL, NULL, 0);
    expect(r, PGRES_TUPLES_OK, "get");
    same(PQntuples(r) ? PQgetvalue(r, 0, 0) : NULL, value, "get");
    PQclear(r);
    r = PQexecParams(c, text, 1, NULL, (const char *[]){number}, NULL, NULL, 0);
    same(PQntuples(r) ? PQgetvalue(r, 0, 0) : NULL, value, "unnamed");
    PQclear(r);
  }
  run(c, "ALTER TABLE %s ADD COLUMN w int", t);
  PGresult *r = PQexecPrepared(c, "get", 1, (const char *[]){"5"}, NULL, NULL, 0);
  expect(r, PGRES_TUPLES_OK, "get after DDL");
  same(PQgetvalue(r, 0, 0), "v5", "get after DDL");
  PQclear(r);
  r = PQdescribePrepared(c, "get");
  expect(r, PGRES_COMMAND_OK, "describe");
  if (PQnparams(r) != 1 || PQparamtype(r, 0) != 23 || PQnfields(r) != 1) fail("described otherwise");
  PQclear(r);
  r = PQprepare(c, "get", "SELECT 1", 0, NULL);
  same(PQresultErrorField(r, PG_DIAG_SQLSTATE), "42P05", "a name twice");
  PQclear(r);
  is(c, "v7", "EXECUTE get(7)");
  run(c, "DEALLOCATE get");
  r = PQexecPrepared(c, "get", 1, (const char *[]){"5"}, NULL, NULL, 0);
  same(PQresultErrorField(r, PG_DIAG_SQLSTATE), "26000", "after DEALLOCATE");
  PQclear(r);
  expect(PQprepare(c, "get", "SELECT $1::text", 0, NULL), PGRES_COMMAND_OK, "the name again");
  run(c, "DISCARD ALL");
  r = PQexecPrepared(c, "put", 2, (const char *[]){"1000", "x"}, NULL, NULL, 0);
  same(PQresultErrorField(r, PG_DIAG_SQLSTATE), "26000", "after DISCARD ALL");
  PQclear(r);
}

static void sent(int ok, PGconn *c) {
  if (!ok) fail("send: %s", PQerrorMessage(c));
}

static void next_is(PGconn *c, ExecStatusType status, const char *what) {
  PGresult *r = PQgetResult(c);
  if (r == NULL) fail("%s: no result", what);
  expect(r, status, what);
  PQclear(r);
  if (status != PGRES_PIPELINE_SYNC && (r = PQgetResult(c)) != NULL) fail("%s: a result more", what);
}

static void step_pipeline(void) {
  PGconn *c = connect_with("");
  const char *t = fresh(c, "pipeline", "i int primary key");
  char text[200], number[20];
  snprintf(text, sizeof text, "INSERT INTO %s VALUES ($1)", t);
  if (!PQenterPipelineMode(c)) fail("pipeline mode");
  sent(PQsendPrepare(c, "put", text, 0, NULL), c);
  for (int i = 0; i < 100; i++) {
    snprintf(number, sizeof number, "%d", i);
    sent(PQsendQueryPrepared(c, "put", 1, (const char *[]){number}, NULL, NULL, 0), c);
  }
  sent(PQpipelineSync(c), c);
  for (int i = 0; i < 101; i++) next_is(c, PGRES_COMMAND_OK, "put");
  next_is(c, PGRES_PIPELINE_SYNC, "sync");
  sent(PQsendQueryPrepared(c, "put", 1, (const char *[]){"1000"}, NULL, NULL, 0), c);
  sent(PQsendQueryParams(c, "SELECT 1/0", 0, NULL, NULL, NULL, NULL, 0), c);
  sent(PQsendQueryPrepared(c, "put", 1, (const char *[]){"1001"}, NULL, NULL, 0), c);
  sent(PQpipelineSync(c), c);
  sent(PQsendQueryParams(c, "SELECT 5", 0, NULL, NULL, NULL, NULL, 0), c);
  sent(PQpipelineSync(c), c);
  next_is(c, PGRES_COMMAND_OK, "before the error");
  next_is(c, PGRES_FATAL_ERROR, "the error");
  next_is(c, PGRES_PIPELINE_ABORTED, "after the error");
  next_is(c, PGRES_PIPELINE_SYNC, "sync after the error");
  next_is(c, PGRES_TUPLES_OK, "the next unit");
  next_is(c, PGRES_PIPELINE_SYNC, "its sync");
  snprintf(text, sizeof text, "SELECT count(*) FROM %s", t);
  sent(PQsendQueryParams(c, text, 0, NULL, NULL, NULL, NULL, 0), c);
  sent(PQsendFlushRequest(c), c);
  sent(PQflush(c) == 0, c);
  PGresult *r = PQgetResult(c);
  expect(r, PGRES_TUPLES_OK, "Flush without Sync");
  same(PQgetvalue(r, 0, 0), "100", "rows");
  PQclear(r);
  if (PQgetResult(c) != NULL) fail("a result more");
  sent(PQpipelineSync(c), c);
  next_is(c, PGRES_PIPELINE_SYNC, "last sync");
  if (!PQexitPipelineMode(c)) fail("leave pipeline mode: %s", PQerrorMessage(c));
  is(c, "5", "SELECT 5");
}

static void step_copy(void) {
  PGconn *c = connect_with("");
  const char *t = fresh(c, "copy", "i int, t text");
  char text[200], line[100];
  snprintf(text, sizeof text, "COPY %s FROM STDIN", t);
  expect(PQexec(c, text), PGRES_COPY_IN, text);
  for (int i = 0; i < 20000; i++) {
    int length = snprintf(line, sizeof line, "%d\tline ü %d\n", i, i);
    if (PQputCopyData(c, line, length) != 1) fail("put: %s", PQerrorMessage(c));
  }
  if (PQputCopyEnd(c, NULL) != 1) fail("end: %s", PQerrorMessage(c));
  PGresult *r = PQgetResult(c);
  expect(r, PGRES_COMMAND_OK, text);
  same(PQcmdTuples(r), "20000", "rows");
  PQclear(r);
  while ((r = PQgetResult(c)) != NULL) PQclear(r);
  snprintf(text, sizeof text, "COPY (SELECT * FROM %s ORDER BY i) TO STDOUT", t);
  expect(PQexec(c, text), PGRES_COPY_OUT, text);
  char *data;
  int count = 0;
  for (; PQgetCopyData(c, &data, 0) > 0; count++) {
    snprintf(line, sizeof line, "%d\tline ü %d\n", count, count);
    same(data, line, "line");
    PQfreemem(data);
  }
  while ((r = PQgetResult(c)) != NULL) { expect(r, PGRES_COMMAND_OK, text); PQclear(r); }
  if (count != 20000) fail("%d lines", count);
  snprintf(text, sizeof text, "COPY %s FROM STDIN", t);
  expect(PQexec(c, text), PGRES_COPY_IN, text);
  PQputCopyData(c, "no number\tx\n", 12);
  PQputCopyEnd(c, NULL);
  r = PQgetResult(c);
  same(PQresultErrorField(r, PG_DIAG_SQLSTATE), "22P02", "wrong data");
  PQclear(r);
  while ((r = PQgetResult(c)) != NULL) PQclear(r);
  expect(PQexec(c, text), PGRES_COPY_IN, text);
  PQputCopyEnd(c, "given up");
  r = PQgetResult(c);
  same(PQresultErrorField(r, PG_DIAG_SQLSTATE), "57014", "given up");
  PQclear(r);
  while ((r = PQgetResult(c)) != NULL) PQclear(r);
  is(c, "20000", "SELECT count(*) FROM %s", t);
}

static void *cancel_soon(void *connection) {
  char error[256];
  pause_ms(300);
  PGcancel *cancel = PQgetCancel(connection);
  PQcancel(cancel, error, sizeof error);
  PQfreeCancel(cancel);
  return NULL;
}

static void step_cancel(void) {
  PGconn *c = connect_with("");
  pthread_t thread;
  time_t started = time(NULL);
  pthread_create(&thread, NULL, cancel_soon, c);
  PGresult *r = PQexec(c, "SELECT pg_sleep(30)");
  pthread_join(thread, NULL);
  same(PQresultErrorField(r, PG_DIAG_SQLSTATE), "57014", "cancelled");
  PQclear(r);
  if (time(NULL) - started > 5) fail("late");
  is(c, "5", "SELECT 5");
}

static char last_notice[200];
static void keep_notice(void *unused, const PGresult *r) {
  (void)unused;
  snprintf(last_notice, sizeof last_notice, "%s", PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY));
}

static void step_error(void) {
  PGconn *c = connect_with("");
  const char *t = fresh(c, "error", "i int primary key");
  char wanted[100];
  PQclear(refused(c, "22012", "SELECT 1/0"));
  PQclear(refused(c, "42P01", "SELECT * FROM no_such_table"));
  PGresult *r = refused(c, "42601", "SELEC 1");
  same(PQresultErrorField(r, PG_DIAG_STATEMENT_POSITION), "1", "position");
  run(c, "INSERT INTO %s VALUES (1)", t);
  r = refused(c, "23505", "INSERT INTO %s VALUES (1)", t);
  snprintf(wanted, sizeof wanted, "%s_pkey", t);
  same(PQresultErrorField(r, PG_DIAG_CONSTRAINT_NAME), wanted, "constraint");
  same(PQresultErrorField(r, PG_DIAG_MESSAGE_DETAIL), "Key (i)=(1) already exists.", "detail");
  run(c, "BEGIN");
  PQclear(refused(c, "22012", "SELECT 1/0"));
  PQclear(refused(c, "25P02", "SELECT 1"));
  run(c, "ROLLBACK");
  PQsetNoticeReceiver(c, keep_notice, NULL);
  run(c, "DO $$ BEGIN RAISE NOTICE 'said'; END $$");
  same(last_notice, "said", "notice");
  r = PQexec(c, "");
  expect(r, PGRES_EMPTY_QUERY, "empty");
  is(c, "5", "SELECT 5");
}

static void step_read_your_writes(void) {
  PGconn *c = connect_with("");
  const char *t = fresh(c, "ryw", "i int, t text");
  for (int i = 0; i < 200; i++) {
    char wanted[20];
    snprintf(wanted, sizeof wanted, "v%d", i);
    run(c, "INSERT INTO %s VALUES (%d, 'v%d')", t, i, i);
    is(c, wanted, "SELECT t FROM %s WHERE i = %d", t, i);
  }
}

static void step_large(void) {
  PGconn *c = connect_with("");
  PGresult *r = query(c, "SELECT i, repeat('x', 1000) FROM generate_series(1, 10000) i");
  if (PQntuples(r) != 10000) fail("%d rows", PQntuples(r));
  PQclear(r);
  r = query(c, "SELECT repeat('y', 10000000)");
  if (PQgetlength(r, 0, 0) != 10000000) fail("%d bytes", PQgetlength(r, 0, 0));
  PQclear(r);
  char *big = malloc(10000001);
  memset(big, 'z', 10000000);
  big[10000000] = 0;
  r = PQexecParams(c, "SELECT length($1::text)", 1, NULL, (const char *[]){big}, NULL, NULL, 0);
  free(big);
  expect(r, PGRES_TUPLES_OK, "large parameter");
  same(PQgetvalue(r, 0, 0), "10000000", "length");
  PQclear(r);
}

static void step_notify(void) {
  PGconn *listener = connect_with(""), *sender = connect_with("");
  const char *wanted[] = {"one", "two"};
  run(listener, "LISTEN c_libpq_channel");
  run(sender, "SELECT pg_notify('c_libpq_channel', 'one')");
  run(sender, "NOTIFY c_libpq_channel, 'two'");
  for (int i = 0, tries = 0; i < 2 && tries < 500; tries++) {
    PQconsumeInput(listener);
    PGnotify *notify;
    for (; (notify = PQnotifies(listener)) != NULL; i++) same(notify->extra, wanted[i], "payload");
    if (tries == 499) fail("%d notifications", i);
    pause_ms(20);
  }
  run(listener, "UNLISTEN *");
}

static void step_cursor(void) {
  PGconn *c = connect_with("");
  int seen = 0;
  run(c, "BEGIN");
  run(c, "DECLARE numbers SCROLL CURSOR FOR SELECT i FROM generate_series(1, 1000) i");
  for (;;) {
    PGresult *r = query(c, "FETCH 100 FROM numbers");
    int n = PQntuples(r);
    PQclear(r);
    if (n == 0) break;
    seen += n;
  }
  if (seen != 1000) fail("%d rows", seen);
  is(c, "1000", "FETCH PRIOR FROM numbers");
  run(c, "CLOSE numbers");
  run(c, "DECLARE held CURSOR WITH HOLD FOR SELECT i FROM generate_series(1, 1000) i");
  run(c, "COMMIT");
  is(c, "1", "FETCH held");
  run(c, "CLOSE held");
  sent(PQsendQuery(c, "SELECT i FROM generate_series(1, 1000) i"), c);
  if (!PQsetSingleRowMode(c)) fail("single row mode");
  seen = 0;
  for (PGresult *r; (r = PQgetResult(c)) != NULL; PQclear(r)) if (PQresultStatus(r) == PGRES_SINGLE_TUPLE) seen++;
  if (seen != 1000) fail("%d single rows", seen);
}

static int write_one(PGconn *c, const char *t, int number, char *state) {
  char text[200];
  PGresult *r;
  int in_transaction = number % 2 == 0;
  snprintf(text, sizeof text, "INSERT INTO %s VALUES (%d)", t, number);
  if (in_transaction) PQclear(PQexec(c, "BEGIN"));
  r = PQexec(c, text);
  if (in_transaction && PQresultStatus(r) == PGRES_COMMAND_OK) {
    PQclear(r);
    r = PQexec(c, "COMMIT");
  }
  if (PQresultStatus(r) == PGRES_COMMAND_OK && strcmp(PQcmdStatus(r), "ROLLBACK") != 0) {
    PQclear(r);
    return 1;
  }
  const char *said = PQresultErrorField(r, PG_DIAG_SQLSTATE);
  snprintf(state, 6, "%s", said ? said : "none");
  snprintf(last_notice, sizeof last_notice, "%s", PQresultErrorMessage(r));
  PQclear(r);
  if (in_transaction) PQclear(PQexec(c, "ROLLBACK"));
  return 0;
}

static void go_on_during(const char *name) {
  static char acknowledged[100000];
  char path[500], state[6];
  PGconn *c = connect_with("application_name='goes on'");
  const char *t = fresh(c, name, "i int");
  int number = 0, refusals = 0;
  time_t started = time(NULL);
  memset(acknowledged, 0, sizeof acknowledged);
  run(c, "SET work_mem = '5MB'");
  snprintf(path, sizeof path, "%s/%s", signals, name);
  printf("ready-for %s\n", name);
  for (int left = 50; left > 0; pause_ms(20)) {
    if (time(NULL) - started > 120) fail("the change took longer than two minutes");
    if (access(path, F_OK) == 0) left--;
    number++;
    if (write_one(c, t, number, state)) {
      acknowledged[number] = 1;
      continue;
    }
    if (strcmp(name, "switchover") == 0 || (strcmp(state, "40001") != 0 && strcmp(state, "08007") != 0)) fail("%s: %s", state, last_notice);
    if (++refusals > 4) fail("more than four writes refused, the last by %s", state);
  }
  char text[200];
  snprintf(text, sizeof text, "SELECT i FROM %s", t);
  PGresult *r = query(c, text);
  for (int i = 0; i < PQntuples(r); i++) {
    char *mark = &acknowledged[atoi(PQgetvalue(r, i, 0))];
    if (*mark == 2) fail("carried out twice: %s", PQgetvalue(r, i, 0));
    *mark = 2;
  }
  PQclear(r);
  for (int i = 1; i <= number; i++) if (acknowledged[i] == 1) fail("acknowledged write %d is lost", i);
  is(c, "5MB", "SHOW work_mem");
  is(c, "goes on", "SHOW application_name");
}

static void step_switchover(void) { go_on_during("switchover"); }
static void step_crash(void) { go_on_during("crash"); }

static const struct { const char *name; void (*run)(void); } steps[] = {
  {"connect", step_connect}, {"types", step_types}, {"transactions", step_transactions}, {"prepared", step_prepared},
  {"pipeline", step_pipeline}, {"copy", step_copy}, {"cancel", step_cancel}, {"error", step_error},
  {"read-your-writes", step_read_your_writes}, {"large", step_large}, {"notify", step_notify}, {"cursor", step_cursor},
  {"switchover", step_switchover}, {"crash", step_crash},
};

int main(int argc, char **argv) {
  if (argc < 3) return 2;
  client_name = argv[1];
  signals = argv[2];
  setvbuf(stdout, NULL, _IOLBF, 0);
  for (int i = 3; i < argc; i++) {
    for (size_t s = 0; s < sizeof steps / sizeof *steps; s++) {
      if (strcmp(argv[i], steps[s].name) != 0) continue;
      if (setjmp(failed) == 0) {
        steps[s].run();
        printf("ok %s\n", argv[i]);
      } else {
        printf("not ok %s - %s\n", argv[i], why);
      }
      while (open_count > 0) PQfinish(open_connections[--open_count]);
    }
  }
  return 0;
}
