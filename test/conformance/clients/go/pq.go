package main

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"time"

	"github.com/lib/pq"
)

// lib/pq below database/sql: every parameterised query is a Parse of its own.
var pqSteps = map[string]func(){
	"connect": pqConnects, "types": pqTypes, "transactions": pqTransactions, "prepared": pqPrepared, "copy": pqCopies, "cancel": pqCancels,
	"error": pqErrors, "read-your-writes": pqReadsItsWrites, "large": pqLarge, "notify": pqNotifies, "cursor": pqCursor,
	"switchover": func() { pqGoesOn("switchover") }, "crash": func() { pqGoesOn("crash") },
}

func pqDSN(more string) string {
	return fmt.Sprintf("host=%s port=%s user=%s password=%s dbname=%s sslmode=disable %s", os.Getenv("PGHOST"), os.Getenv("PGPORT"),
		os.Getenv("PGUSER"), os.Getenv("PGPASSWORD"), os.Getenv("PGDATABASE"), more)
}

// One session, so that it is known what has gone on in it.
func pqOpen(more string) (*sql.DB, *sql.Conn) {
	db, err := sql.Open("postgres", pqDSN(more))
	must(err)
	c, err := db.Conn(context.Background())
	must(err)
	return db, c
}

var ctx = context.Background()

func pqRun(c *sql.Conn, query string, values ...interface{}) {
	_, err := c.ExecContext(ctx, query, values...)
	must(err)
}

func pqOne(c *sql.Conn, query string, values ...interface{}) (result string) {
	must(c.QueryRowContext(ctx, query, values...).Scan(&result))
	return result
}

func pqState(err error) string {
	if e, ok := err.(*pq.Error); ok {
		return string(e.Code)
	}
	return fmt.Sprintf("%T %v", err, err)
}

func pqRefused(c *sql.Conn, state, query string, values ...interface{}) *pq.Error {
	_, err := c.ExecContext(ctx, query, values...)
	if err == nil {
		panic(query + " was not refused")
	}
	same(pqState(err), state, "SQLSTATE")
	return err.(*pq.Error)
}

func pqFresh(c *sql.Conn, name, columns string) string {
	pqRun(c, fmt.Sprintf("DROP TABLE IF EXISTS %s; CREATE TABLE %s (%s)", table(name), table(name), columns))
	return table(name)
}

func pqConnects() {
	db, c := pqOpen("application_name=conformance options='-c statement_timeout=61s'")
	defer db.Close()
	same(pqOne(c, "SHOW application_name"), "conformance", "name")
	same(pqOne(c, "SHOW statement_timeout"), "61s", "time-out")
	must(c.PingContext(ctx))
}

func pqTypes() {
	for _, more := range []string{"", "binary_parameters=yes"} {
		db, c := pqOpen(more)
		t := pqFresh(c, "types", "i int8, n numeric, t text, b bytea, z timestamptz, a int[], s text[], j json, u uuid, x text")
		z := time.Date(2026, 2, 3, 4, 5, 6, 789012000, time.UTC)
		s := []string{"a", "b c", "d,\"e"}
		json := `{"a":[1,{"b":null}],"ü":"🌍"}`
		pqRun(c, "INSERT INTO "+t+" VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10)", int64(9223372036854775807), numeric, text, octets, z,
			pq.Array([]int64{1, 2, 3}), pq.Array(s), json, id, nil)
		var i int64
		var n, tx, j, u string
		var b []byte
		var zz time.Time
		var a []int64
		var ss []string
		var x sql.NullString
		must(c.QueryRowContext(ctx, "SELECT * FROM "+t).Scan(&i, &n, &tx, &b, &zz, pq.Array(&a), pq.Array(&ss), &j, &u, &x))
		same([]interface{}{i, n, tx, b, zz.UTC(), a, ss, j, u, x.Valid}, []interface{}{int64(9223372036854775807), numeric, text, octets, z, []int64{1, 2, 3}, s, json, id, false}, "row")
		db.Close()
	}
}

func pqInts(c *sql.Conn, query string) (all []int) {
	rows, err := c.QueryContext(ctx, query)
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

func pqTransactions() {
	db, c := pqOpen("")
	defer db.Close()
	t := pqFresh(c, "tx", "i int")
	in := func(options *sql.TxOptions, work func(tx *sql.Tx), commit bool) {
		tx, err := c.BeginTx(ctx, options)
		must(err)
		work(tx)
		if commit {
			must(tx.Commit())
		} else {
			must(tx.Rollback())
		}
	}
	exec := func(tx *sql.Tx, query string) { _, err := tx.Exec(query); must(err) }
	in(nil, func(tx *sql.Tx) { exec(tx, "INSERT INTO "+t+" VALUES (1)") }, true)
	in(nil, func(tx *sql.Tx) { exec(tx, "INSERT INTO "+t+" VALUES (2)") }, false)
	in(&sql.TxOptions{Isolation: sql.LevelSerializable}, func(tx *sql.Tx) {
		exec(tx, "INSERT INTO "+t+" VALUES (3)")
		exec(tx, "SAVEPOINT s")
		exec(tx, "INSERT INTO "+t+" VALUES (4)")
		_, err := tx.Exec("SELECT 1/0")
		same(pqState(err), "22012", "SQLSTATE")
		exec(tx, "ROLLBACK TO s")
		exec(tx, "INSERT INTO "+t+" VALUES (5)")
	}, true)
	same(pqInts(c, "SELECT i FROM "+t+" ORDER BY i"), []int{1, 3, 5}, "rows")
	in(&sql.TxOptions{ReadOnly: true}, func(tx *sql.Tx) {
		_, err := tx.Exec("INSERT INTO " + t + " VALUES (6)")
		same(pqState(err), "25006", "SQLSTATE")
	}, false)
	same(pqOne(c, "SELECT count(*) FROM "+t), "3", "count")
}

func pqPrepared() {
	db, c := pqOpen("")
	defer db.Close()
	t := pqFresh(c, "prepared", "id int primary key, v text")
	put, err := c.PrepareContext(ctx, "INSERT INTO "+t+" VALUES ($1, $2)")
	must(err)
	get, err := c.PrepareContext(ctx, "SELECT v FROM "+t+" WHERE id = $1")
	must(err)
	check := func(i int) {
		var v string
		must(get.QueryRow(i).Scan(&v))
		same(v, fmt.Sprintf("v%d", i), "named")
	}
	for i := 0; i < 100; i++ {
		_, err = put.Exec(i, fmt.Sprintf("v%d", i))
		must(err)
		check(i)
		same(pqOne(c, "SELECT v FROM "+t+" WHERE id = $1", i), fmt.Sprintf("v%d", i), "unnamed")
	}
	pqRun(c, "ALTER TABLE "+t+" ADD COLUMN w int")
	check(5)
	must(put.Close())
	must(get.Close())
	for i := 0; i < 150; i++ {
		s, err := c.PrepareContext(ctx, fmt.Sprintf("SELECT $1::int + %d", i))
		must(err)
		var sum int
		must(s.QueryRow(i).Scan(&sum))
		same(sum, 2*i, "sum")
		must(s.Close())
	}
}

func pqCopies() {
	db, c := pqOpen("")
	defer db.Close()
	t := pqFresh(c, "copy", "i int, t text")
	copyIn := func(first interface{}, count int) error {
		tx, err := c.BeginTx(ctx, nil)
		must(err)
		defer tx.Rollback()
		s, err := tx.Prepare(pq.CopyIn(t, "i", "t"))
		must(err)
		for i := 0; i < count; i++ {
			if _, err = s.Exec(first, fmt.Sprintf("%s %d", text, i)); err != nil {
				return err
			}
		}
		if _, err = s.Exec(); err != nil {
			return err
		}
		must(s.Close())
		return tx.Commit()
	}
	must(copyIn(7, 5000))
	same(pqOne(c, "SELECT count(*) FROM "+t), "5000", "count")
	same(pqState(copyIn("no number", 1)), "22P02", "SQLSTATE")
	same(pqOne(c, "SELECT count(*) FROM "+t+" WHERE t = $1", text+" 4999"), "1", "last")
}

func pqCancels() {
	db, c := pqOpen("")
	defer db.Close()
	started := time.Now()
	limited, stop := context.WithTimeout(ctx, 300*time.Millisecond)
	defer stop()
	_, err := c.ExecContext(limited, "SELECT pg_sleep(30)")
	same(pqState(err), "57014", "SQLSTATE")
	if time.Since(started) > 5*time.Second {
		panic("late")
	}
	// This driver closes a connection whose context has ended; the pool opens another.
	var five int
	must(db.QueryRow("SELECT 5").Scan(&five))
	same(five, 5, "after it")
}

func pqErrors() {
	db, c := pqOpen("")
	defer db.Close()
	t := pqFresh(c, "error", "i int primary key")
	pqRefused(c, "22012", "SELECT 1/0")
	pqRefused(c, "42P01", "SELECT * FROM no_such_table WHERE i = $1", 1)
	same(pqRefused(c, "42601", "SELEC 1").Position, "1", "position")
	pqRun(c, "INSERT INTO "+t+" VALUES (1)")
	same(pqRefused(c, "23505", "INSERT INTO "+t+" VALUES ($1)", 1).Constraint, t+"_pkey", "constraint")
	tx, err := c.BeginTx(ctx, nil)
	must(err)
	_, err = tx.Exec("SELECT 1/0")
	same(pqState(err), "22012", "SQLSTATE")
	_, err = tx.Exec("SELECT 1")
	same(pqState(err), "25P02", "SQLSTATE")
	must(tx.Rollback())
	same(pqOne(c, "SELECT 5"), "5", "after it")
}

func pqReadsItsWrites() {
	db, c := pqOpen("")
	defer db.Close()
	t := pqFresh(c, "ryw", "i int, t text")
	for i := 0; i < 200; i++ {
		pqRun(c, "INSERT INTO "+t+" VALUES ($1, $2)", i, fmt.Sprintf("v%d", i))
		same(pqOne(c, "SELECT t FROM "+t+" WHERE i = $1", i), fmt.Sprintf("v%d", i), "row")
	}
}

func pqLarge() {
	db, c := pqOpen("")
	defer db.Close()
	same(len(pqInts(c, "SELECT length(repeat('x', 1000)) FROM generate_series(1, 10000) i")), 10000, "rows")
	same(len(pqOne(c, "SELECT repeat('y', 10000000)")), 10000000, "value")
	same(pqOne(c, "SELECT length($1::text)", string(make10MB())), "10000000", "parameter")
}

func make10MB() []byte {
	all := make([]byte, 10000000)
	for i := range all {
		all[i] = 'z'
	}
	return all
}

func pqNotifies() {
	db, c := pqOpen("")
	defer db.Close()
	listener := pq.NewListener(pqDSN(""), time.Second, time.Minute, nil)
	defer listener.Close()
	must(listener.Listen("c_pq_channel"))
	pqRun(c, "SELECT pg_notify('c_pq_channel', $1)", "one")
	pqRun(c, "NOTIFY c_pq_channel, 'two'")
	for _, wanted := range []string{"one", "two"} {
		select {
		case n := <-listener.Notify:
			same(n.Extra, wanted, "payload")
		case <-time.After(10 * time.Second):
			panic("no notification")
		}
	}
	must(listener.Ping())
}

func pqCursor() {
	db, c := pqOpen("")
	defer db.Close()
	pqRun(c, "BEGIN")
	pqRun(c, "DECLARE numbers CURSOR FOR SELECT i FROM generate_series(1, 1000) i")
	count := 0
	for {
		rows := pqInts(c, "FETCH 100 FROM numbers")
		if len(rows) == 0 {
			break
		}
		same(rows[0], count+1, "first")
		count += len(rows)
	}
	same(count, 1000, "rows")
	pqRun(c, "COMMIT")
}

func pqGoesOn(name string) {
	db, c := pqOpen("application_name='goes on'")
	defer db.Close()
	t := pqFresh(c, name, "i int")
	pqRun(c, "SET work_mem = '5MB'")
	acknowledged := goOn(name, pqState, func(number int, inTransaction bool) error {
		if !inTransaction {
			_, err := c.ExecContext(ctx, "INSERT INTO "+t+" VALUES ($1)", number)
			return err
		}
		tx, err := c.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		if _, err = tx.Exec("INSERT INTO "+t+" VALUES ($1)", number); err != nil {
			must(tx.Rollback())
			return err
		}
		return tx.Commit()
	})
	allFound(pqInts(c, "SELECT i FROM "+t), acknowledged)
	same(pqOne(c, "SHOW work_mem"), "5MB", "setting of the session")
	same(pqOne(c, "SHOW application_name"), "goes on", "name")
}
