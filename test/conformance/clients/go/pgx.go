package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgconn"
	"github.com/jackc/pgtype"
	"github.com/jackc/pgx/v4"
)

// pgx: statements prepared and kept by text, batches as one unit, binary formats, COPY in binary.
var pgxSteps = map[string]func(){
	"connect": pgxConnects, "types": pgxTypes, "transactions": pgxTransactions, "prepared": pgxPrepared, "pipeline": pgxBatches,
	"copy": pgxCopies, "cancel": pgxCancels, "error": pgxErrors, "read-your-writes": pgxReadsItsWrites, "large": pgxLarge,
	"notify": pgxNotifies, "cursor": pgxCursor, "switchover": func() { pgxGoesOn("switchover") }, "crash": func() { pgxGoesOn("crash") },
}

func pgxOpen(more string) *pgx.Conn {
	c, err := pgx.Connect(ctx, pqDSN(more))
	must(err)
	return c
}

func pgxRun(c *pgx.Conn, query string, values ...interface{}) {
	_, err := c.Exec(ctx, query, values...)
	must(err)
}

func pgxString(c *pgx.Conn, query string, values ...interface{}) (result string) {
	must(c.QueryRow(ctx, query, values...).Scan(&result))
	return result
}

func pgxInts(c *pgx.Conn, query string, values ...interface{}) (all []int) {
	rows, err := c.Query(ctx, query, values...)
	must(err)
	defer rows.Close()
	for rows.Next() {
		var i int
		must(rows.Scan(&i))
		all = append(all, i)
	}
	must(rows.Err())
	return all
}

func pgxState(err error) string {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return e.Code
	}
	return fmt.Sprintf("%T %v", err, err)
}

func pgxRefused(c *pgx.Conn, state, query string, values ...interface{}) *pgconn.PgError {
	_, err := c.Exec(ctx, query, values...)
	if err == nil {
		panic(query + " was not refused")
	}
	same(pgxState(err), state, "SQLSTATE")
	var e *pgconn.PgError
	errors.As(err, &e)
	return e
}

func pgxFresh(c *pgx.Conn, name, columns string) string {
	pgxRun(c, "DROP TABLE IF EXISTS "+table(name))
	pgxRun(c, fmt.Sprintf("CREATE TABLE %s (%s)", table(name), columns))
	return table(name)
}

func pgxConnects() {
	c := pgxOpen("application_name=conformance options='-c statement_timeout=61s'")
	defer c.Close(ctx)
	same(pgxString(c, "SHOW application_name"), "conformance", "name")
	same(pgxString(c, "SHOW statement_timeout"), "61s", "time-out")
	same(c.PgConn().ParameterStatus("client_encoding"), "UTF8", "encoding")
	must(c.Ping(ctx))
	writable := pgxOpen("target_session_attrs=read-write")
	must(writable.Close(ctx))
}

func pgxTypes() {
	for _, simple := range []bool{false, true} {
		config, err := pgx.ParseConfig(pqDSN(""))
		must(err)
		config.PreferSimpleProtocol = simple
		c, err := pgx.ConnectConfig(ctx, config)
		must(err)
		t := pgxFresh(c, "types", "i int8, n numeric, t text, b bytea, z timestamptz, a int[], s text[], j jsonb, u uuid, x text")
		z := time.Date(2026, 2, 3, 4, 5, 6, 789012000, time.UTC)
		var n pgtype.Numeric
		must(n.Set(numeric))
		s := []string{"a", "b c", "d,\"e"}
		json := `{"a": [1, {"b": null}], "ü": "🌍"}`
		var a pgtype.Int4Array
		must(a.Set([]int32{1, 2, 3}))
		var ss pgtype.TextArray
		must(ss.Set(s))
		pgxRun(c, "INSERT INTO "+t+" VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10)", int64(9223372036854775807), &n, text, octets, z, &a, &ss, json, id, nil)
		var i int64
		var nn, tx, j, u string
		var b []byte
		var zz time.Time
		var aa []int
		var sss []string
		var x *string
		must(c.QueryRow(ctx, "SELECT i, n::text, t, b, z, a, s, j::text, u::text, x FROM "+t).Scan(&i, &nn, &tx, &b, &zz, &aa, &sss, &j, &u, &x))
		same([]interface{}{i, nn, tx, b, zz.UTC(), aa, sss, j, u, x == nil}, []interface{}{int64(9223372036854775807), numeric, text, octets, z, []int{1, 2, 3}, s, json, id, true}, "row")
		must(c.Close(ctx))
	}
}

func pgxTransactions() {
	c := pgxOpen("")
	defer c.Close(ctx)
	t := pgxFresh(c, "tx", "i int")
	put := func(tx pgx.Tx, i int) error {
		_, err := tx.Exec(ctx, "INSERT INTO "+t+" VALUES ($1)", i)
		return err
	}
	must(c.BeginFunc(ctx, func(tx pgx.Tx) error { return put(tx, 1) }))
	back := errors.New("back")
	same(c.BeginFunc(ctx, func(tx pgx.Tx) error { must(put(tx, 2)); return back }), back, "error")
	must(c.BeginTxFunc(ctx, pgx.TxOptions{IsoLevel: pgx.Serializable}, func(tx pgx.Tx) error {
		must(put(tx, 3))
		err := tx.BeginFunc(ctx, func(inner pgx.Tx) error {
			must(put(inner, 4))
			_, err := inner.Exec(ctx, "SELECT 1/0")
			return err
		})
		same(pgxState(err), "22012", "SQLSTATE")
		return put(tx, 5)
	}))
	same(pgxInts(c, "SELECT i FROM "+t+" ORDER BY i"), []int{1, 3, 5}, "rows")
	err := c.BeginTxFunc(ctx, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error { return put(tx, 6) })
	same(pgxState(err), "25006", "SQLSTATE")
	must(c.BeginTxFunc(ctx, pgx.TxOptions{IsoLevel: pgx.Serializable, AccessMode: pgx.ReadOnly, DeferrableMode: pgx.Deferrable}, func(tx pgx.Tx) error {
		var count int
		must(tx.QueryRow(ctx, "SELECT count(*) FROM "+t).Scan(&count))
		same(count, 3, "count")
		return nil
	}))
}

func pgxPrepared() {
	for _, more := range []string{"", "statement_cache_mode=describe", "statement_cache_capacity=0", "statement_cache_capacity=10"} {
		c := pgxOpen(more)
		t := pgxFresh(c, "prepared", "id int primary key, v text")
		for i := 0; i < 100; i++ {
			pgxRun(c, "INSERT INTO "+t+" VALUES ($1, $2)", i, fmt.Sprintf("v%d", i))
			same(pgxString(c, "SELECT v FROM "+t+" WHERE id = $1", i), fmt.Sprintf("v%d", i), more)
			same(pgxInts(c, fmt.Sprintf("SELECT $1::int + %d", i), i), []int{2 * i}, more)
		}
		pgxRun(c, "ALTER TABLE "+t+" ADD COLUMN w int")
		same(pgxString(c, "SELECT v FROM "+t+" WHERE id = $1", 5), "v5", more)
		if more != "" {
			must(c.Close(ctx))
			continue
		}
		_, err := c.Prepare(ctx, "named", "SELECT v FROM "+t+" WHERE id = $1")
		must(err)
		same(pgxString(c, "named", 7), "v7", more)
		must(c.Deallocate(ctx, "named"))
		_, err = c.Prepare(ctx, "named", "SELECT $1::text")
		must(err)
		same(pgxString(c, "named", "again"), "again", more)
		must(c.Close(ctx))
	}
}

func pgxBatches() {
	c := pgxOpen("")
	defer c.Close(ctx)
	t := pgxFresh(c, "batch", "i int primary key")
	batch := &pgx.Batch{}
	for i := 0; i < 100; i++ {
		batch.Queue("INSERT INTO "+t+" VALUES ($1)", i)
	}
	batch.Queue("SELECT count(*) FROM " + t)
	results := c.SendBatch(ctx, batch)
	for i := 0; i < 100; i++ {
		_, err := results.Exec()
		must(err)
	}
	var count int
	must(results.QueryRow().Scan(&count))
	same(count, 100, "count in the batch")
	must(results.Close())
	batch = &pgx.Batch{}
	batch.Queue("INSERT INTO "+t+" VALUES ($1)", 1000)
	batch.Queue("SELECT 1/0")
	batch.Queue("INSERT INTO "+t+" VALUES ($1)", 1001)
	same(pgxState(c.SendBatch(ctx, batch).Close()), "22012", "SQLSTATE")
	same(pgxInts(c, "SELECT count(*) FROM "+t), []int{100}, "count")
}

func pgxCopies() {
	c := pgxOpen("")
	defer c.Close(ctx)
	t := pgxFresh(c, "copy", "i int, t text")
	rows := make([][]interface{}, 5000)
	for i := range rows {
		rows[i] = []interface{}{i, fmt.Sprintf("%s %d", text, i)}
	}
	count, err := c.CopyFrom(ctx, pgx.Identifier{t}, []string{"i", "t"}, pgx.CopyFromRows(rows))
	must(err)
	same(count, int64(5000), "rows in")
	var out strings.Builder
	tag, err := c.PgConn().CopyTo(ctx, &out, "COPY (SELECT i FROM "+t+" ORDER BY i) TO STDOUT")
	must(err)
	same(tag.RowsAffected(), int64(5000), "rows out")
	same(strings.HasSuffix(out.String(), "\n4999\n"), true, "the last")
	_, err = c.PgConn().CopyFrom(ctx, strings.NewReader("no number\tx\n"), "COPY "+t+" FROM STDIN")
	same(pgxState(err), "22P02", "SQLSTATE")
	same(pgxInts(c, "SELECT count(*) FROM "+t), []int{5000}, "count")
}

func pgxCancels() {
	c := pgxOpen("")
	defer c.Close(ctx)
	started := time.Now()
	go func() {
		time.Sleep(300 * time.Millisecond)
		_ = c.PgConn().CancelRequest(ctx)
	}()
	pgxRefused(c, "57014", "SELECT pg_sleep(30)")
	if time.Since(started) > 5*time.Second {
		panic("late")
	}
	same(pgxInts(c, "SELECT 5"), []int{5}, "after it")
	// A context that ends closes the connection of this driver.
	limited, stop := context.WithTimeout(ctx, 100*time.Millisecond)
	defer stop()
	if _, err := c.Exec(limited, "SELECT pg_sleep(30)"); err == nil || !c.IsClosed() {
		panic("was not given up")
	}
}

func pgxErrors() {
	config, err := pgx.ParseConfig(pqDSN(""))
	must(err)
	said := ""
	config.OnNotice = func(_ *pgconn.PgConn, notice *pgconn.Notice) { said = notice.Message }
	c, err := pgx.ConnectConfig(ctx, config)
	must(err)
	defer c.Close(ctx)
	t := pgxFresh(c, "error", "i int primary key")
	pgxRefused(c, "22012", "SELECT 1/0")
	pgxRefused(c, "42P01", "SELECT * FROM no_such_table WHERE i = $1", 1)
	same(pgxRefused(c, "42601", "SELEC 1").Position, int32(1), "position")
	pgxRun(c, "INSERT INTO "+t+" VALUES (1)")
	same(pgxRefused(c, "23505", "INSERT INTO "+t+" VALUES ($1)", 1).ConstraintName, t+"_pkey", "constraint")
	tx, err := c.Begin(ctx)
	must(err)
	_, err = tx.Exec(ctx, "SELECT 1/0")
	same(pgxState(err), "22012", "SQLSTATE")
	_, err = tx.Exec(ctx, "SELECT 1")
	same(pgxState(err), "25P02", "SQLSTATE")
	must(tx.Rollback(ctx))
	pgxRun(c, "DO $$ BEGIN RAISE NOTICE 'said'; END $$")
	same(said, "said", "notice")
	same(pgxInts(c, "SELECT 5"), []int{5}, "after it")
}

func pgxReadsItsWrites() {
	c := pgxOpen("")
	defer c.Close(ctx)
	t := pgxFresh(c, "ryw", "i int, t text")
	for i := 0; i < 200; i++ {
		pgxRun(c, "INSERT INTO "+t+" VALUES ($1, $2)", i, fmt.Sprintf("v%d", i))
		same(pgxString(c, "SELECT t FROM "+t+" WHERE i = $1", i), fmt.Sprintf("v%d", i), "row")
	}
}

func pgxLarge() {
	c := pgxOpen("")
	defer c.Close(ctx)
	same(len(pgxInts(c, "SELECT length(repeat('x', 1000)) FROM generate_series(1, 10000) i")), 10000, "rows")
	same(len(pgxString(c, "SELECT repeat('y', 10000000)")), 10000000, "value")
	same(pgxInts(c, "SELECT length($1::text)", string(make10MB())), []int{10000000}, "parameter")
}

func pgxNotifies() {
	listener, sender := pgxOpen(""), pgxOpen("")
	defer listener.Close(ctx)
	defer sender.Close(ctx)
	pgxRun(listener, "LISTEN c_pgx_channel")
	pgxRun(sender, "SELECT pg_notify('c_pgx_channel', $1)", "one")
	pgxRun(sender, "NOTIFY c_pgx_channel, 'two'")
	limited, stop := context.WithTimeout(ctx, 10*time.Second)
	defer stop()
	for _, wanted := range []string{"one", "two"} {
		n, err := listener.WaitForNotification(limited)
		must(err)
		same(n.Payload, wanted, "payload")
	}
}

func pgxCursor() {
	c := pgxOpen("")
	defer c.Close(ctx)
	must(c.BeginFunc(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "DECLARE numbers CURSOR FOR SELECT i FROM generate_series(1, 1000) i")
		must(err)
		count := 0
		for {
			rows := pgxInts(c, "FETCH 100 FROM numbers")
			count += len(rows)
			if len(rows) == 0 {
				break
			}
		}
		same(count, 1000, "rows")
		return nil
	}))
}

func pgxGoesOn(name string) {
	c := pgxOpen("application_name='goes on'")
	defer c.Close(ctx)
	t := pgxFresh(c, name, "i int")
	pgxRun(c, "SET work_mem = '5MB'")
	insert := "INSERT INTO " + t + " VALUES ($1)"
	acknowledged := goOn(name, pgxState, func(number int, inTransaction bool) error {
		if !inTransaction {
			_, err := c.Exec(ctx, insert, number)
			return err
		}
		return c.BeginFunc(ctx, func(tx pgx.Tx) error {
			_, err := tx.Exec(ctx, insert, number)
			return err
		})
	})
	allFound(pgxInts(c, "SELECT i FROM "+t), acknowledged)
	same(pgxString(c, "SHOW work_mem"), "5MB", "setting of the session")
	same(pgxString(c, "SHOW application_name"), "goes on", "name")
}
