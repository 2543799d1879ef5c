import java.io.File;
import java.io.StringReader;
import java.io.StringWriter;
import java.math.BigDecimal;
import java.sql.*;
import java.time.OffsetDateTime;
import java.util.*;
import org.postgresql.PGConnection;
import org.postgresql.copy.CopyManager;
import org.postgresql.util.PGobject;
import org.postgresql.util.PSQLException;

/** JDBC: the extended protocol throughout, server-prepared after five uses, batches as pipelines, portals with row limits. */
public final class Client {
  static final String TEXT = "Grüße, 世界 🌍 'quoted' \\ \"double\"\nsecond line";
  static String client, signals;

  interface Step { void run() throws Exception; }

  interface Write { void run(int number, boolean inTransaction) throws SQLException; }

  public static void main(String[] args) {
    client = args[0];
    signals = args[1];
    Map<String, Step> steps = new HashMap<>();
    steps.put("connect", Client::connects);
    steps.put("types", Client::types);
    steps.put("transactions", Client::transactions);
    steps.put("prepared", Client::prepared);
    steps.put("pipeline", Client::batches);
    steps.put("copy", Client::copies);
    steps.put("cancel", Client::cancels);
    steps.put("error", Client::errors);
    steps.put("read-your-writes", Client::readsItsWrites);
    steps.put("large", Client::large);
    steps.put("notify", Client::notifies);
    steps.put("cursor", Client::cursors);
    steps.put("switchover", () -> goesOn("switchover"));
    steps.put("crash", () -> goesOn("crash"));
    for (String name : Arrays.asList(args).subList(2, args.length)) {
      try {
        steps.get(name).run();
        System.out.println("ok " + name);
      } catch (Throwable error) {
        if (System.getenv("TRACE") != null) error.printStackTrace();
        System.out.println("not ok " + name + " - " + error.toString().replace("\n", " | "));
      }
    }
    System.exit(0);
  }

  static Connection connect(String... more) throws SQLException {
    Properties p = new Properties();
    p.put("user", System.getenv("PGUSER"));
    p.put("password", System.getenv("PGPASSWORD"));
    p.put("sslmode", "disable");
    for (int i = 0; i < more.length; i += 2) p.put(more[i], more[i + 1]);
    String url = "jdbc:postgresql://" + System.getenv("PGHOST") + ":" + System.getenv("PGPORT") + "/" + System.getenv("PGDATABASE");
    return DriverManager.getConnection(url, p);
  }

  static void run(Connection c, String text, Object... values) throws SQLException {
    try (PreparedStatement s = c.prepareStatement(text)) {
      for (int i = 0; i < values.length; i++) s.setObject(i + 1, values[i]);
      s.execute();
    }
  }

  static List<Object> column(Connection c, String text, Object... values) throws SQLException {
    try (PreparedStatement s = c.prepareStatement(text)) {
      for (int i = 0; i < values.length; i++) s.setObject(i + 1, values[i]);
      List<Object> all = new ArrayList<>();
      try (ResultSet r = s.executeQuery()) {
        while (r.next()) all.add(r.getObject(1));
      }
      return all;
    }
  }

  static Object one(Connection c, String text, Object... values) throws SQLException {
    List<Object> all = column(c, text, values);
    return all.isEmpty() ? null : all.get(0);
  }

  static void same(Object got, Object wanted, String what) {
    if (!Objects.equals(got, wanted)) throw new AssertionError(what + ": got " + got + ", wanted " + wanted);
  }

  static PSQLException refused(Connection c, String state, String text, Object... values) {
    try {
      run(c, text, values);
    } catch (SQLException error) {
      same(error.getSQLState(), state, "SQLSTATE of " + error.getMessage());
      return (PSQLException) error;
    }
    throw new AssertionError(text + " was not refused");
  }

  static String fresh(Connection c, String name, String columns) throws SQLException {
    String table = "c_" + client + "_" + name;
    try (Statement s = c.createStatement()) {
      s.execute("DROP TABLE IF EXISTS " + table + "; CREATE TABLE " + table + " (" + columns + ")");
    }
    return table;
  }

  static void connects() throws Exception {
    try (Connection c = connect("ApplicationName", "conformance", "options", "-c statement_timeout=61s")) {
      same(one(c, "SHOW application_name"), "conformance", "name");
      same(one(c, "SHOW statement_timeout"), "61s", "time-out");
      if (c.getMetaData().getDatabaseMajorVersion() < 15) throw new AssertionError("version");
      if (!c.isValid(5)) throw new AssertionError("not valid");
      c.setClientInfo("ApplicationName", "another");
      same(one(c, "SHOW application_name"), "another", "name");
      try (ResultSet r = c.getMetaData().getTables(null, "pg_catalog", "pg_class", null)) {
        if (!r.next()) throw new AssertionError("no pg_class");
      }
    }
  }

  static void types() throws Exception {
    String columns = "i int8, n numeric, t text, b bytea, z timestamptz, a int[], s text[], j json, u uuid, x text";
    UUID uuid = UUID.fromString("0198c2f0-5b7a-7c3d-8e4f-0123456789ab");
    OffsetDateTime z = OffsetDateTime.parse("2026-02-03T04:05:06.789012Z");
    byte[] bytes = {0, 1, 39, 92, -2, -1};
    PGobject json = new PGobject();
    json.setType("json");
    json.setValue("{\"a\":[1,2,{\"b\":null}],\"ü\":\"🌍\"}");
    // The second connection asks for the binary format from the first use on.
    for (String threshold : List.of("5", "-1")) {
      try (Connection c = connect("prepareThreshold", threshold)) {
        String t = fresh(c, "types", columns);
        Array a = c.createArrayOf("int4", new Integer[] {1, null, 3});
        Array s = c.createArrayOf("text", new String[] {"a", "b c", "d,\"e"});
        run(c, "INSERT INTO " + t + " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", Long.MAX_VALUE, new BigDecimal("12345678901234567890.123456789"), TEXT, bytes, z, a, s, json, uuid, null);
        for (int i = 0; i < 8; i++) {
          try (PreparedStatement q = c.prepareStatement("SELECT * FROM " + t); ResultSet r = q.executeQuery()) {
            r.next();
            same(r.getLong(1), Long.MAX_VALUE, "int8");
            same(r.getBigDecimal(2), new BigDecimal("12345678901234567890.123456789"), "numeric");
            same(r.getString(3), TEXT, "text");
            same(Arrays.toString(r.getBytes(4)), Arrays.toString(bytes), "bytea");
            same(r.getObject(5, OffsetDateTime.class).toInstant(), z.toInstant(), "timestamptz");
            same(Arrays.toString((Object[]) r.getArray(6).getArray()), "[1, null, 3]", "int[]");
            same(Arrays.toString((Object[]) r.getArray(7).getArray()), "[a, b c, d,\"e]", "text[]");
            same(r.getString(8), json.getValue(), "json");
            same(r.getObject(9), uuid, "uuid");
            same(r.getString(10), null, "null");
          }
        }
      }
    }
  }

  static void transactions() throws Exception {
    try (Connection c = connect()) {
      String t = fresh(c, "tx", "i int");
      c.setAutoCommit(false);
      run(c, "INSERT INTO " + t + " VALUES (1)");
      c.commit();
      run(c, "INSERT INTO " + t + " VALUES (2)");
      c.rollback();
      c.setTransactionIsolation(Connection.TRANSACTION_SERIALIZABLE);
      run(c, "INSERT INTO " + t + " VALUES (3)");
      Savepoint s = c.setSavepoint();
      run(c, "INSERT INTO " + t + " VALUES (4)");
      refused(c, "22012", "SELECT 1/0");
      c.rollback(s);
      run(c, "INSERT INTO " + t + " VALUES (5)");
      c.commit();
      c.setTransactionIsolation(Connection.TRANSACTION_READ_COMMITTED);
      same(column(c, "SELECT i FROM " + t + " ORDER BY i").toString(), "[1, 3, 5]", "rows");
      c.commit();
      c.setReadOnly(true);
      same(one(c, "SELECT count(*) FROM " + t), 3L, "count");
      refused(c, "25006", "INSERT INTO " + t + " VALUES (6)");
      c.rollback();
      c.setReadOnly(false);
      run(c, "INSERT INTO " + t + " VALUES (7)");
      c.commit();
      same(one(c, "SELECT count(*) FROM " + t), 4L, "count");
      c.commit();
    }
    try (Connection c = connect("readOnly", "true", "readOnlyMode", "always")) {
      same(one(c, "SELECT count(*) FROM c_" + client + "_tx").getClass(), Long.class, "count");
      refused(c, "25006", "INSERT INTO c_" + client + "_tx VALUES (8)");
    }
  }

  static void prepared() throws Exception {
    for (String mode : List.of("extended", "simple", "extendedForPrepared", "extendedCacheEverything")) {
      try (Connection c = connect("preferQueryMode", mode)) {
        String t = fresh(c, "prepared", "id int primary key, v text");
        try (PreparedStatement put = c.prepareStatement("INSERT INTO " + t + " VALUES (?, ?)");
            PreparedStatement get = c.prepareStatement("SELECT v FROM " + t + " WHERE id = ?")) {
          for (int i = 0; i < 100; i++) {
            put.setInt(1, i);
            put.setString(2, "v" + i);
            same(put.executeUpdate(), 1, "rows");
            get.setInt(1, i);
            try (ResultSet r = get.executeQuery()) {
              same(r.next(), true, mode + ": row " + i);
              same(r.getString(1), "v" + i, mode);
            }
          }
          run(c, "ALTER TABLE " + t + " ADD COLUMN w int DEFAULT 7");
          try (ResultSet r = get.executeQuery()) {
            r.next();
            same(r.getString(1), "v99", mode);
          }
        }
        for (int i = 0; i < 10; i++) same(one(c, "SELECT * FROM " + t + " WHERE id = ?", i), i, mode);
        // The driver forgets its statements of the protocol when it sees these.
        run(c, "DEALLOCATE ALL");
        for (int i = 0; i < 10; i++) same(one(c, "SELECT v FROM " + t + " WHERE id = ?", i), "v" + i, mode);
        run(c, "DISCARD ALL");
        for (int i = 0; i < 10; i++) same(one(c, "SELECT v FROM " + t + " WHERE id = ?", i), "v" + i, mode);
        // More texts than it keeps: it closes the oldest.
        for (int round = 0; round < 6; round++) for (int i = 0; i < 300; i++) one(c, "SELECT ?::int + " + i, i);
      }
    }
  }

  static void batches() throws Exception {
    for (String rewrite : List.of("false", "true")) {
      try (Connection c = connect("reWriteBatchedInserts", rewrite)) {
        String t = fresh(c, "batch", "i int primary key");
        try (PreparedStatement s = c.prepareStatement("INSERT INTO " + t + " VALUES (?)")) {
          for (int i = 0; i < 1000; i++) {
            s.setInt(1, i);
            s.addBatch();
          }
          same(s.executeBatch().length, 1000, "batch");
          for (int i : new int[] {2000, 5, 2001}) {
            s.setInt(1, i);
            s.addBatch();
          }
          try {
            s.executeBatch();
            throw new AssertionError("a batch with a fault was taken");
          } catch (BatchUpdateException error) {
            same(error.getSQLState(), "23505", "SQLSTATE");
          }
        }
        same(one(c, "SELECT count(*) FROM " + t), 1000L, "count");
        try (PreparedStatement s = c.prepareStatement("INSERT INTO " + t + " VALUES (?)", Statement.RETURN_GENERATED_KEYS)) {
          for (int i = 3000; i < 3010; i++) {
            s.setInt(1, i);
            s.addBatch();
          }
          s.executeBatch();
          int keys = 0;
          for (ResultSet r = s.getGeneratedKeys(); r.next(); ) keys++;
          same(keys, 10, "keys");
        }
      }
    }
  }

  static void copies() throws Exception {
    try (Connection c = connect()) {
      String t = fresh(c, "copy", "i int, t text");
      CopyManager copy = c.unwrap(PGConnection.class).getCopyAPI();
      StringBuilder data = new StringBuilder();
      for (int i = 0; i < 20000; i++) data.append(i).append("\tline ü ").append(i).append('\n');
      same(copy.copyIn("COPY " + t + " FROM STDIN", new StringReader(data.toString())), 20000L, "rows in");
      StringWriter back = new StringWriter();
      same(copy.copyOut("COPY (SELECT * FROM " + t + " ORDER BY i) TO STDOUT", back), 20000L, "rows out");
      same(back.toString().equals(data.toString()), true, "what came back");
      try {
        copy.copyIn("COPY " + t + " FROM STDIN", new StringReader("no number\tx\n"));
        throw new AssertionError("wrong data was taken");
      } catch (SQLException error) {
        same(error.getSQLState(), "22P02", "SQLSTATE");
      }
      var in = copy.copyIn("COPY " + t + " FROM STDIN");
      in.cancelCopy();
      same(one(c, "SELECT count(*) FROM " + t), 20000L, "count");
    }
  }

  static void cancels() throws Exception {
    try (Connection c = connect(); Statement s = c.createStatement()) {
      long started = System.nanoTime();
      new Timer(true).schedule(new TimerTask() {
        public void run() {
          try {
            s.cancel();
          } catch (SQLException error) {
            error.printStackTrace();
          }
        }
      }, 300);
      try {
        s.execute("SELECT pg_sleep(30)");
        throw new AssertionError("was not cancelled");
      } catch (SQLException error) {
        same(error.getSQLState(), "57014", "SQLSTATE");
      }
      if (System.nanoTime() - started > 5_000_000_000L) throw new AssertionError("late");
      s.setQueryTimeout(1);
      try {
        s.execute("SELECT pg_sleep(30)");
        throw new AssertionError("was not cancelled");
      } catch (SQLException error) {
        same(error.getSQLState(), "57014", "SQLSTATE");
      }
      same(one(c, "SELECT 5"), 5, "after it");
    }
  }

  static void errors() throws Exception {
    try (Connection c = connect()) {
      String t = fresh(c, "error", "i int primary key");
      refused(c, "22012", "SELECT 1/0");
      refused(c, "42P01", "SELECT * FROM no_such_table");
      same(refused(c, "42601", "SELEC 1").getServerErrorMessage().getPosition(), 1, "position");
      run(c, "INSERT INTO " + t + " VALUES (1)");
      same(refused(c, "23505", "INSERT INTO " + t + " VALUES (?)", 1).getServerErrorMessage().getConstraint(), t + "_pkey", "constraint");
      c.setAutoCommit(false);
      refused(c, "22012", "SELECT 1/0");
      refused(c, "25P02", "SELECT 1");
      c.rollback();
      c.setAutoCommit(true);
      try (Statement s = c.createStatement()) {
        s.execute("DO $$ BEGIN RAISE NOTICE 'said'; END $$");
        same(s.getWarnings().getMessage(), "said", "notice");
        s.execute("");
      }
      same(one(c, "SELECT 5"), 5, "after it");
    }
    // Each statement in a savepoint of its own.
    try (Connection c = connect("autosave", "always")) {
      c.setAutoCommit(false);
      run(c, "INSERT INTO c_" + client + "_error VALUES (10)");
      refused(c, "22012", "SELECT 1/0");
      run(c, "INSERT INTO c_" + client + "_error VALUES (11)");
      c.commit();
      same(one(c, "SELECT count(*) FROM c_" + client + "_error WHERE i >= 10"), 2L, "count");
      c.commit();
    }
  }

  static void readsItsWrites() throws Exception {
    try (Connection c = connect()) {
      String t = fresh(c, "ryw", "i int, t text");
      for (int i = 0; i < 200; i++) {
        run(c, "INSERT INTO " + t + " VALUES (?, ?)", i, "v" + i);
        same(one(c, "SELECT t FROM " + t + " WHERE i = ?", i), "v" + i, "row");
      }
    }
  }

  static void large() throws Exception {
    try (Connection c = connect()) {
      same(column(c, "SELECT repeat('x', 1000) FROM generate_series(1, 10000)").size(), 10000, "rows");
      same(((String) one(c, "SELECT repeat('y', 10000000)")).length(), 10_000_000, "value");
      same(one(c, "SELECT length(?::text)", "z".repeat(10_000_000)), 10_000_000, "parameter");
    }
  }

  static void notifies() throws Exception {
    try (Connection listener = connect(); Connection sender = connect()) {
      run(listener, "LISTEN c_jdbc_channel");
      one(sender, "SELECT pg_notify('c_jdbc_channel', ?)", "one");
      run(sender, "NOTIFY c_jdbc_channel, 'two'");
      List<String> seen = new ArrayList<>();
      for (int i = 0; i < 20 && seen.size() < 2; i++) {
        var some = listener.unwrap(PGConnection.class).getNotifications(500);
        if (some != null) for (var n : some) seen.add(n.getParameter());
      }
      same(seen.toString(), "[one, two]", "payloads");
    }
  }

  static void cursors() throws Exception {
    try (Connection c = connect()) {
      c.setAutoCommit(false);
      try (PreparedStatement s = c.prepareStatement("SELECT i FROM generate_series(1, 1000) i")) {
        s.setFetchSize(70);
        int i = 0;
        try (ResultSet r = s.executeQuery()) {
          while (r.next()) same(r.getInt(1), ++i, "row");
        }
        same(i, 1000, "rows");
        // Two portals at once, one left half read.
        try (ResultSet a = s.executeQuery(); PreparedStatement q = c.prepareStatement("SELECT i FROM generate_series(1, 500) i")) {
          q.setFetchSize(3);
          try (ResultSet b = q.executeQuery()) {
            for (int n = 1; n <= 200; n++) {
              a.next();
              b.next();
              same(a.getInt(1) + b.getInt(1), 2 * n, "both");
            }
          }
        }
      }
      c.commit();
      c.setAutoCommit(true);
      same(one(c, "SELECT 5"), 5, "after it");
    }
  }

  static void goesOn(String name) throws Exception {
    try (Connection c = connect("ApplicationName", "goes on")) {
      String t = fresh(c, name, "i int");
      run(c, "SET work_mem = '5MB'");
      Set<Integer> acknowledged = writes(name, (number, inTransaction) -> {
        if (!inTransaction) {
          run(c, "INSERT INTO " + t + " VALUES (?)", number);
          return;
        }
        c.setAutoCommit(false);
        try {
          run(c, "INSERT INTO " + t + " VALUES (?)", number);
          c.commit();
        } catch (SQLException error) {
          c.rollback();
          throw error;
        } finally {
          c.setAutoCommit(true);
        }
      });
      List<Object> found = column(c, "SELECT i FROM " + t);
      acknowledged.removeAll(found);
      if (!acknowledged.isEmpty()) throw new AssertionError("acknowledged writes are lost: " + acknowledged);
      same(new HashSet<>(found).size(), found.size(), "writes carried out twice");
      same(one(c, "SHOW work_mem"), "5MB", "setting of the session");
      same(one(c, "SHOW application_name"), "goes on", "name");
    }
  }

  static Set<Integer> writes(String name, Write write) throws Exception {
    System.out.println("ready-for " + name);
    Set<Integer> acknowledged = new TreeSet<>();
    List<String> states = new ArrayList<>();
    long deadline = System.nanoTime() + 120_000_000_000L;
    for (int number = 1, left = 50; left > 0; number++) {
      if (System.nanoTime() > deadline) throw new AssertionError("the change took longer than two minutes");
      if (new File(signals, name).exists()) left--;
      try {
        write.run(number, number % 2 == 0);
        acknowledged.add(number);
      } catch (SQLException error) {
        boolean allowed = Set.of("40001", "08007").contains(error.getSQLState());
        if (name.equals("switchover") || !allowed) throw error;
        states.add(error.getSQLState());
      }
      Thread.sleep(20);
    }
    if (states.size() > 4) throw new AssertionError("writes refused: " + states);
    return acknowledged;
  }
}
