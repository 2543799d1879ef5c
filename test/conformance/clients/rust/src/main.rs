//! tokio-postgres: every query is prepared; pipelines by polling several at once; binary formats; COPY; portals.
use futures_util::{future, pin_mut, stream, SinkExt, StreamExt, TryStreamExt};
use std::collections::HashSet;
use std::env;
use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};
use tokio_postgres::types::ToSql;
use tokio_postgres::{AsyncMessage, Client, NoTls};

type Outcome = Result<(), Box<dyn Error>>;

const TEXT: &str = "Grüße, 世界 🌍 'quoted' \\ \"double\"\nsecond line";

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_default()
}

fn table(name: &str) -> String {
    format!("c_tokio_postgres_{}", name)
}

async fn connect(more: &str) -> Result<Client, Box<dyn Error>> {
    let config = format!(
        "host={} port={} user={} password={} dbname={} sslmode=disable {}",
        variable("PGHOST"), variable("PGPORT"), variable("PGUSER"), variable("PGPASSWORD"), variable("PGDATABASE"), more
    );
    let (client, connection) = tokio_postgres::connect(&config, NoTls).await?;
    tokio::spawn(async move {
        let _ = connection.await;
    });
    Ok(client)
}

fn same<T: PartialEq + std::fmt::Debug>(got: T, wanted: T, what: &str) -> Outcome {
    if got == wanted {
        return Ok(());
    }
    Err(format!("{}: got {:.200}, wanted {:.200}", what, format!("{:?}", got), format!("{:?}", wanted)).into())
}

fn state_of(error: &tokio_postgres::Error) -> String {
    error.code().map(|code| code.code().to_string()).unwrap_or_else(|| error.to_string())
}

async fn refused(c: &Client, state: &str, text: &str, values: &[&(dyn ToSql + Sync)]) -> Result<tokio_postgres::Error, Box<dyn Error>> {
    match c.query(text, values).await {
        Ok(_) => Err(format!("{} was not refused", text).into()),
        Err(error) => same(state_of(&error).as_str(), state, "SQLSTATE").map(|_| error),
    }
}

async fn fresh(c: &Client, name: &str, columns: &str) -> Result<String, Box<dyn Error>> {
    let t = table(name);
    c.batch_execute(&format!("DROP TABLE IF EXISTS {}; CREATE TABLE {} ({})", t, t, columns)).await?;
    Ok(t)
}

async fn text(c: &Client, query: &str, values: &[&(dyn ToSql + Sync)]) -> Result<String, Box<dyn Error>> {
    Ok(c.query_one(query, values).await?.get(0))
}

async fn ints(c: &Client, query: &str) -> Result<Vec<i32>, Box<dyn Error>> {
    Ok(c.query(query, &[]).await?.iter().map(|row| row.get(0)).collect())
}

async fn connects() -> Outcome {
    let c = connect("application_name=conformance options='-c statement_timeout=61s' target_session_attrs=read-write").await?;
    same(text(&c, "SHOW application_name", &[]).await?.as_str(), "conformance", "name")?;
    same(text(&c, "SHOW statement_timeout", &[]).await?.as_str(), "61s", "time-out")
}

async fn types() -> Outcome {
    let c = connect("").await?;
    let t = fresh(&c, "types", "i int8, f float8, t text, b bytea, z timestamptz, a int[], s text[], x text, o bool").await?;
    let bytes: Vec<u8> = vec![0, 1, 39, 92, 254, 255];
    let z = std::time::UNIX_EPOCH + Duration::from_micros(1_770_091_506_789_012);
    let a = vec![Some(1), None, Some(3)];
    let s = vec!["a".to_string(), "b c".to_string(), "d,\"e".to_string()];
    c.execute(
        &format!("INSERT INTO {} VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9)", t),
        &[&i64::MAX, &1.5f64, &TEXT, &bytes, &z, &a, &s, &None::<String>, &true],
    )
    .await?;
    let row = c.query_one(&format!("SELECT * FROM {}", t), &[]).await?;
    same(row.get::<_, i64>(0), i64::MAX, "int8")?;
    same(row.get::<_, f64>(1), 1.5, "float8")?;
    same(row.get::<_, String>(2).as_str(), TEXT, "text")?;
    same(row.get::<_, Vec<u8>>(3), bytes, "bytea")?;
    same(row.get::<_, std::time::SystemTime>(4), z, "timestamptz")?;
    same(row.get::<_, Vec<Option<i32>>>(5), a, "int[]")?;
    same(row.get::<_, Vec<String>>(6), s, "text[]")?;
    same(row.get::<_, Option<String>>(7), None, "null")?;
    same(row.get::<_, bool>(8), true, "bool")?;
    // A type that the driver does not know: it asks the catalog with statements of its own.
    c.batch_execute(&format!("DROP TYPE IF EXISTS {}_mood; CREATE TYPE {}_mood AS ENUM ('well', 'ill')", t, t)).await?;
    let statement = c.prepare(&format!("SELECT 'well'::{}_mood", t)).await?;
    same(statement.columns()[0].type_().name(), format!("{}_mood", t).as_str(), "type")
}

async fn transactions() -> Outcome {
    let mut c = connect("").await?;
    let t = fresh(&c, "tx", "i int").await?;
    let put = format!("INSERT INTO {} VALUES ($1)", t);
    let tx = c.transaction().await?;
    tx.execute(&put, &[&1i32]).await?;
    tx.commit().await?;
    let tx = c.transaction().await?;
    tx.execute(&put, &[&2i32]).await?;
    drop(tx); // rolls back
    let mut tx = c.build_transaction().isolation_level(tokio_postgres::IsolationLevel::Serializable).start().await?;
    tx.execute(&put, &[&3i32]).await?;
    let inner = tx.savepoint("s").await?;
    inner.execute(&put, &[&4i32]).await?;
    inner.query("SELECT 1/0", &[]).await.err().ok_or("divided by zero")?;
    inner.rollback().await?;
    tx.execute(&put, &[&5i32]).await?;
    tx.commit().await?;
    same(ints(&c, &format!("SELECT i FROM {} ORDER BY i", t)).await?, vec![1, 3, 5], "rows")?;
    let tx = c.build_transaction().read_only(true).start().await?;
    let error = tx.execute(&put, &[&6i32]).await.err().ok_or("written in a read-only transaction")?;
    same(state_of(&error).as_str(), "25006", "SQLSTATE")?;
    tx.rollback().await?;
    same(ints(&c, "SELECT 5").await?, vec![5], "after it")
}

async fn prepared() -> Outcome {
    let c = connect("").await?;
    let t = fresh(&c, "prepared", "id int primary key, v text").await?;
    let put = c.prepare(&format!("INSERT INTO {} VALUES ($1, $2)", t)).await?;
    let get = c.prepare(&format!("SELECT v FROM {} WHERE id = $1", t)).await?;
    for i in 0..100i32 {
        let v = format!("v{}", i);
        c.execute(&put, &[&i, &v]).await?;
        same(c.query_one(&get, &[&i]).await?.get::<_, String>(0), v.clone(), "named")?;
        // Prepared for this once, and closed.
        same(text(&c, &format!("SELECT v FROM {} WHERE id = $1", t), &[&i]).await?, v, "once")?;
    }
    c.batch_execute(&format!("ALTER TABLE {} ADD COLUMN w int", t)).await?;
    same(c.query_one(&get, &[&5i32]).await?.get::<_, String>(0).as_str(), "v5", "after DDL")?;
    let parts = c.simple_query("SELECT 1; SELECT 2; SELECT 3").await?;
    same(parts.len(), 6, "answers of several statements")
}

async fn pipeline() -> Outcome {
    let c = connect("").await?;
    let t = fresh(&c, "pipeline", "i int primary key").await?;
    let put = c.prepare(&format!("INSERT INTO {} VALUES ($1)", t)).await?;
    let numbers: Vec<i32> = (0..200).collect();
    let parameters: Vec<[&(dyn ToSql + Sync); 1]> = numbers.iter().map(|i| [i as &(dyn ToSql + Sync)]).collect();
    future::try_join_all(parameters.iter().map(|values| c.execute(&put, values))).await?;
    let divide = c.prepare("SELECT 10 / $1::int").await?;
    let (zero, two) = (0i32, 2i32);
    let (z, w): ([&(dyn ToSql + Sync); 1], [&(dyn ToSql + Sync); 1]) = ([&zero], [&two]);
    let (first, second, third) = future::join3(c.query_one(&divide, &z), c.query_one(&divide, &w), c.query_one(&divide, &z)).await;
    same(state_of(&first.err().ok_or("divided by zero")?).as_str(), "22012", "first")?;
    same(second?.get::<_, i32>(0), 5, "second")?;
    same(state_of(&third.err().ok_or("divided by zero")?).as_str(), "22012", "third")?;
    same(ints(&c, &format!("SELECT count(*)::int FROM {}", t)).await?, vec![200], "count")
}

async fn copies() -> Outcome {
    let c = connect("").await?;
    let t = fresh(&c, "copy", "i int, t text").await?;
    let lines: String = (0..20000).map(|i| format!("{}\tline ü {}\n", i, i)).collect();
    let sink = c.copy_in(&format!("COPY {} FROM STDIN", t)).await?;
    pin_mut!(sink);
    let chunks: Vec<_> = lines.as_bytes().chunks(9999).map(|chunk| Ok::<_, tokio_postgres::Error>(std::io::Cursor::new(chunk.to_vec()))).collect();
    sink.send_all(&mut stream::iter(chunks)).await?;
    same(sink.finish().await?, 20000, "rows in")?;
    let out = c.copy_out(&format!("COPY (SELECT * FROM {} ORDER BY i) TO STDOUT", t)).await?;
    let back: Vec<u8> = out.try_fold(Vec::new(), |mut all, chunk| async move { all.extend_from_slice(&chunk); Ok(all) }).await?;
    same(back == lines.as_bytes(), true, "what came back")?;
    let sink = c.copy_in(&format!("COPY {} FROM STDIN", t)).await?;
    pin_mut!(sink);
    sink.send(std::io::Cursor::new(b"no number\tx\n".to_vec())).await?;
    let error = sink.finish().await.err().ok_or("wrong data was taken")?;
    same(state_of(&error).as_str(), "22P02", "SQLSTATE")?;
    // Dropped before its end: the copy fails, the session goes on.
    let given_up = c.copy_in::<_, std::io::Cursor<Vec<u8>>>(&format!("COPY {} FROM STDIN", t)).await?;
    drop(given_up);
    same(ints(&c, &format!("SELECT count(*)::int FROM {}", t)).await?, vec![20000], "count")
}

async fn cancels() -> Outcome {
    let c = connect("").await?;
    let started = Instant::now();
    let token = c.cancel_token();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let _ = token.cancel_query(NoTls).await;
    });
    refused(&c, "57014", "SELECT pg_sleep(30)", &[]).await?;
    same(started.elapsed() < Duration::from_secs(5), true, "in time")?;
    same(ints(&c, "SELECT 5").await?, vec![5], "after it")
}

async fn errors() -> Outcome {
    let c = connect("").await?;
    let t = fresh(&c, "error", "i int primary key").await?;
    refused(&c, "22012", "SELECT 1/0", &[]).await?;
    refused(&c, "42P01", "SELECT * FROM no_such_table", &[]).await?;
    refused(&c, "42601", "SELEC 1", &[]).await?;
    let put = format!("INSERT INTO {} VALUES ($1)", t);
    c.execute(&put, &[&1i32]).await?;
    let error = refused(&c, "23505", &put, &[&1i32]).await?;
    let constraint = error.as_db_error().and_then(|e| e.constraint()).unwrap_or("none").to_string();
    same(constraint, format!("{}_pkey", t), "constraint")?;
    c.batch_execute("BEGIN").await?;
    refused(&c, "22012", "SELECT 1/0", &[]).await?;
    refused(&c, "25P02", "SELECT 1", &[]).await?;
    c.batch_execute("ROLLBACK").await?;
    same(ints(&c, "SELECT 5").await?, vec![5], "after it")
}

async fn reads_its_writes() -> Outcome {
    let c = connect("").await?;
    let t = fresh(&c, "ryw", "i int, t text").await?;
    for i in 0..200i32 {
        c.execute(&format!("INSERT INTO {} VALUES ($1, $2)", t), &[&i, &format!("v{}", i)]).await?;
        same(text(&c, &format!("SELECT t FROM {} WHERE i = $1", t), &[&i]).await?, format!("v{}", i), "row")?;
    }
    Ok(())
}

async fn large() -> Outcome {
    let c = connect("").await?;
    same(c.query("SELECT i, repeat('x', 1000) FROM generate_series(1, 10000) i", &[]).await?.len(), 10000, "rows")?;
    same(text(&c, "SELECT repeat('y', 10000000)", &[]).await?.len(), 10_000_000, "value")?;
    let z = "z".repeat(10_000_000);
    same(c.query_one("SELECT length($1::text)", &[&z]).await?.get::<_, i32>(0), 10_000_000, "parameter")
}

async fn notifies() -> Outcome {
    let config = format!(
        "host={} port={} user={} password={} dbname={} sslmode=disable",
        variable("PGHOST"), variable("PGPORT"), variable("PGUSER"), variable("PGPASSWORD"), variable("PGDATABASE")
    );
    let (listener, mut connection) = tokio_postgres::connect(&config, NoTls).await?;
    let (send, mut seen) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(Ok(message)) = future::poll_fn(|context| connection.poll_message(context)).await {
            if let AsyncMessage::Notification(notification) = message {
                let _ = send.send(notification.payload().to_string());
            }
        }
    });
    let sender = connect("").await?;
    listener.batch_execute("LISTEN c_tokio_channel").await?;
    sender.query("SELECT pg_notify('c_tokio_channel', $1)", &[&"one"]).await?;
    sender.batch_execute("NOTIFY c_tokio_channel, 'two'").await?;
    for wanted in ["one", "two"] {
        let payload = tokio::time::timeout(Duration::from_secs(10), seen.recv()).await?;
        same(payload.as_deref(), Some(wanted), "payload")?;
    }
    Ok(())
}

async fn cursors() -> Outcome {
    let mut c = connect("").await?;
    let tx = c.transaction().await?;
    let portal = tx.bind("SELECT i FROM generate_series(1, $1::int) i", &[&1000i32]).await?;
    let mut all: Vec<i32> = Vec::new();
    loop {
        let rows = tx.query_portal(&portal, 70).await?;
        if rows.is_empty() {
            break;
        }
        all.extend(rows.iter().map(|row| row.get::<_, i32>(0)));
    }
    same(all, (1..=1000).collect(), "rows")?;
    tx.commit().await?;
    // A stream that is left half read.
    let no_values: Vec<&(dyn ToSql + Sync)> = Vec::new();
    let rows = c.query_raw("SELECT i FROM generate_series(1, 1000) i", no_values.iter().map(|v| *v as &dyn ToSql)).await?;
    pin_mut!(rows);
    rows.next().await.ok_or("no row")??;
    same(ints(&c, "SELECT 5").await?, vec![5], "after it")
}

async fn write(c: &mut Client, put: &str, number: i32) -> Result<(), tokio_postgres::Error> {
    if number % 2 == 1 {
        return c.execute(put, &[&number]).await.map(|_| ());
    }
    let tx = c.transaction().await?;
    tx.execute(put, &[&number]).await?;
    tx.commit().await
}

async fn goes_on(name: &str) -> Outcome {
    let mut c = connect("application_name='goes on'").await?;
    let t = fresh(&c, name, "i int").await?;
    c.batch_execute("SET work_mem = '5MB'").await?;
    let put = format!("INSERT INTO {} VALUES ($1)", t);
    let signal = env::args().nth(2).ok_or("no folder of signals")?;
    println!("ready-for {}", name);
    let (mut acknowledged, mut states, mut left, mut number) = (HashSet::new(), Vec::new(), 50, 0);
    let started = Instant::now();
    while left > 0 {
        if started.elapsed() > Duration::from_secs(120) {
            return Err("the change took longer than two minutes".into());
        }
        if Path::new(&signal).join(name).exists() {
            left -= 1;
        }
        number += 1;
        match write(&mut c, &put, number).await {
            Ok(()) => {
                acknowledged.insert(number);
            }
            Err(error) => {
                let state = state_of(&error);
                if name == "switchover" || (state != "40001" && state != "08007") {
                    return Err(format!("write refused with {}: {}", state, error).into());
                }
                states.push(state);
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    if states.len() > 4 {
        return Err(format!("writes refused: {:?}", states).into());
    }
    let found = ints(&c, &format!("SELECT i FROM {}", t)).await?;
    let there: HashSet<i32> = found.iter().copied().collect();
    same(acknowledged.difference(&there).count(), 0, "lost acknowledged writes")?;
    same(there.len(), found.len(), "writes carried out twice")?;
    same(text(&c, "SHOW work_mem", &[]).await?.as_str(), "5MB", "setting of the session")?;
    same(text(&c, "SHOW application_name", &[]).await?.as_str(), "goes on", "name")
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    for name in env::args().skip(3) {
        let outcome = match name.as_str() {
            "connect" => connects().await,
            "types" => types().await,
            "transactions" => transactions().await,
            "prepared" => prepared().await,
            "pipeline" => pipeline().await,
            "copy" => copies().await,
            "cancel" => cancels().await,
            "error" => errors().await,
            "read-your-writes" => reads_its_writes().await,
            "large" => large().await,
            "notify" => notifies().await,
            "cursor" => cursors().await,
            _ => goes_on(&name).await,
        };
        match outcome {
            Ok(()) => println!("ok {}", name),
            Err(error) => println!("not ok {} - {}", name, error.to_string().replace('\n', " | ")),
        }
    }
}
