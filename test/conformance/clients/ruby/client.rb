# frozen_string_literal: true

require 'pg'

# ruby-pg: libpq with type maps, pipelines, COPY, cancel.
$stdout.sync = true
CLIENT, SIGNALS, *WANTED = ARGV
TEXT = "Grüße, 世界 🌍 'quoted' \\ \"double\"\nsecond line"
STEPS = {}

def connect(**more)
  c = PG.connect(host: ENV['PGHOST'], port: ENV['PGPORT'], user: ENV['PGUSER'], password: ENV['PGPASSWORD'], dbname: ENV['PGDATABASE'], sslmode: 'disable', **more)
  c.set_notice_processor { |_| nil }
  return c unless block_given?

  begin
    yield c
  ensure
    c.close unless c.finished?
  end
end

def same(got, wanted, what = 'value')
  raise "#{what}: got #{got.inspect[0, 200]}, wanted #{wanted.inspect[0, 200]}" unless got == wanted
end

def one(conn, text, *values)
  r = conn.exec_params(text, values)
  r.ntuples.zero? ? nil : r.getvalue(0, 0)
end

def state_of(error)
  error.respond_to?(:result) && error.result ? error.result.error_field(PG::PG_DIAG_SQLSTATE) : nil
end

def refused(state)
  begin
    yield
  rescue PG::Error => e
    same(state_of(e), state, "SQLSTATE of #{e.message}")
    return e.result
  end
  raise "not refused, wanted #{state}"
end

def fresh(conn, name, columns)
  t = "c_#{CLIENT}_#{name}"
  conn.exec("DROP TABLE IF EXISTS #{t}; CREATE TABLE #{t} (#{columns})")
  t
end

STEPS['connect'] = lambda do
  connect(application_name: 'conformance', options: '-c statement_timeout=61s') do |c|
    same(one(c, 'SHOW application_name'), 'conformance')
    same(one(c, 'SHOW statement_timeout'), '61s')
    same(c.get_client_encoding, 'UTF8')
    raise 'version' unless c.server_version >= 150_000

    c.set_client_encoding('LATIN1')
    same(one(c, "SELECT 'ü'".encode('ISO-8859-1')).encode('UTF-8'), 'ü')
    c.set_client_encoding('UTF8')
    c.reset
    same(one(c, 'SHOW application_name'), 'conformance')
  end
end

STEPS['types'] = lambda do
  connect do |c|
    t = fresh(c, 'types', 'i int8, n numeric, t text, b bytea, z timestamptz, a int[], s text[], j json, u uuid, x text')
    c.type_map_for_results = PG::BasicTypeMapForResults.new(c)
    a = PG::TextEncoder::Array.new(elements_type: PG::TextEncoder::Integer.new).encode([1, nil, 3])
    s = PG::TextEncoder::Array.new.encode(['a', 'b c', 'd,"e'])
    bytes = [0, 1, 39, 92, 254, 255].pack('C*')
    row = [9_223_372_036_854_775_807, '12345678901234567890.123456789', TEXT, { value: bytes, format: 1 }, '2026-02-03 04:05:06.789012+00',
           a, s, '{"a":[1,{"b":null}],"ü":"🌍"}', '0198c2f0-5b7a-7c3d-8e4f-0123456789ab', nil]
    c.exec_params("INSERT INTO #{t} VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10)", row)
    [0, 1].each do |format|
      got = c.exec_params("SELECT i, t, b, a, s, u, x FROM #{t}", [], format).values[0]
      same(got[0], row[0])
      same(got[1].dup.force_encoding('UTF-8'), TEXT)
      same(got[2].b, bytes)
      same(got[3], [1, nil, 3]) if format.zero?
      same(got[4], ['a', 'b c', 'd,"e']) if format.zero?
      same(got[6], nil)
    end
    same(c.exec("SELECT n FROM #{t}").getvalue(0, 0), BigDecimal('12345678901234567890.123456789'))
    same(c.exec("SELECT z FROM #{t}").getvalue(0, 0).to_r, Time.utc(2026, 2, 3, 4, 5, Rational(6_789_012, 1_000_000)).to_r)
  end
end

STEPS['transactions'] = lambda do
  connect do |c|
    t = fresh(c, 'tx', 'i int')
    c.transaction { c.exec("INSERT INTO #{t} VALUES (1)") }
    begin
      c.transaction do
        c.exec("INSERT INTO #{t} VALUES (2)")
        raise ZeroDivisionError
      end
    rescue ZeroDivisionError
      nil
    end
    c.transaction do
      c.exec("INSERT INTO #{t} VALUES (3)")
      c.exec('SAVEPOINT s')
      c.exec("INSERT INTO #{t} VALUES (4)")
      refused('22012') { c.exec('SELECT 1/0') }
      same(c.transaction_status, PG::PQTRANS_INERROR)
      c.exec('ROLLBACK TO s')
      c.exec("INSERT INTO #{t} VALUES (5)")
    end
    same(c.exec("SELECT i FROM #{t} ORDER BY i").column_values(0), %w[1 3 5])
  end
end

STEPS['prepared'] = lambda do
  connect do |c|
    t = fresh(c, 'prepared', 'id int primary key, v text')
    c.prepare('put', "INSERT INTO #{t} VALUES ($1, $2)")
    c.prepare('get', "SELECT v FROM #{t} WHERE id = $1")
    100.times do |i|
      c.exec_prepared('put', [i, "v#{i}"])
      same(c.exec_prepared('get', [i]).getvalue(0, 0), "v#{i}")
      same(one(c, "SELECT v FROM #{t} WHERE id = $1", i), "v#{i}")
    end
    c.exec("ALTER TABLE #{t} ADD COLUMN w int")
    same(c.exec_prepared('get', [5]).getvalue(0, 0), 'v5')
    same(c.describe_prepared('get').nfields, 1)
    refused('42P05') { c.prepare('get', 'SELECT 1') }
    c.exec('DEALLOCATE get')
    refused('26000') { c.exec_prepared('get', [5]) }
    c.prepare('get', 'SELECT $1::text')
    same(c.exec_prepared('get', ['again']).getvalue(0, 0), 'again')
  end
end

STEPS['pipeline'] = lambda do
  connect do |c|
    t = fresh(c, 'pipeline', 'i int primary key')
    c.enter_pipeline_mode
    50.times { |i| c.send_query_params("INSERT INTO #{t} VALUES ($1)", [i]) }
    c.pipeline_sync
    50.times do
      c.get_result.check
      same(c.get_result, nil)
    end
    same(c.get_result.result_status, PG::PGRES_PIPELINE_SYNC)
    c.send_query_params("INSERT INTO #{t} VALUES ($1)", [1000])
    c.send_query_params('SELECT 1/0', [])
    c.send_query_params("INSERT INTO #{t} VALUES ($1)", [1001])
    c.pipeline_sync
    states = []
    until (r = c.get_result)&.result_status == PG::PGRES_PIPELINE_SYNC
      states << r.result_status if r
    end
    same(states, [PG::PGRES_COMMAND_OK, PG::PGRES_FATAL_ERROR, PG::PGRES_PIPELINE_ABORTED])
    c.exit_pipeline_mode
    same(one(c, "SELECT count(*) FROM #{t}"), '50')
  end
end

STEPS['copy'] = lambda do
  connect do |c|
    t = fresh(c, 'copy', 'i int, t text')
    c.copy_data("COPY #{t} FROM STDIN") { 20_000.times { |i| c.put_copy_data("#{i}\tline ü #{i}\n") } }
    n = 0
    c.copy_data("COPY (SELECT * FROM #{t} ORDER BY i) TO STDOUT") do
      while (line = c.get_copy_data)
        same(line.dup.force_encoding('UTF-8'), "#{n}\tline ü #{n}\n")
        n += 1
      end
    end
    same(n, 20_000)
    refused('22P02') { c.copy_data("COPY #{t} FROM STDIN") { c.put_copy_data("no number\tx\n") } }
    begin
      c.copy_data("COPY #{t} FROM STDIN") { raise ZeroDivisionError }
    rescue ZeroDivisionError
      nil
    end
    same(one(c, "SELECT count(*) FROM #{t}"), '20000')
  end
end

STEPS['cancel'] = lambda do
  connect do |c|
    started = Time.now
    thread = Thread.new { sleep 0.3; c.cancel }
    refused('57014') { c.exec('SELECT pg_sleep(30)') }
    thread.join
    raise 'late' if Time.now - started > 5

    same(one(c, 'SELECT 5'), '5')
  end
end

STEPS['error'] = lambda do
  connect do |c|
    t = fresh(c, 'error', 'i int primary key')
    refused('22012') { c.exec('SELECT 1/0') }
    refused('42P01') { c.exec('SELECT * FROM no_such_table') }
    same(refused('42601') { c.exec('SELEC 1') }.error_field(PG::PG_DIAG_STATEMENT_POSITION), '1')
    c.exec("INSERT INTO #{t} VALUES (1)")
    same(refused('23505') { c.exec_params("INSERT INTO #{t} VALUES ($1)", [1]) }.error_field(PG::PG_DIAG_CONSTRAINT_NAME), "#{t}_pkey")
    c.exec('BEGIN')
    refused('22012') { c.exec('SELECT 1/0') }
    refused('25P02') { c.exec('SELECT 1') }
    c.exec('ROLLBACK')
    said = []
    c.set_notice_processor { |message| said << message }
    c.exec("DO $$ BEGIN RAISE NOTICE 'said'; END $$")
    same(said, ["NOTICE:  said\n"])
    same(one(c, 'SELECT 5'), '5')
  end
end

STEPS['read-your-writes'] = lambda do
  connect do |c|
    t = fresh(c, 'ryw', 'i int, t text')
    200.times do |i|
      c.exec_params("INSERT INTO #{t} VALUES ($1, $2)", [i, "v#{i}"])
      same(one(c, "SELECT t FROM #{t} WHERE i = $1", i), "v#{i}")
    end
  end
end

STEPS['large'] = lambda do
  connect do |c|
    same(c.exec("SELECT i, repeat('x', 1000) FROM generate_series(1, 10000) i").ntuples, 10_000)
    same(one(c, "SELECT repeat('y', 10000000)").length, 10_000_000)
    same(one(c, 'SELECT length($1::text)', 'z' * 10_000_000), '10000000')
    n = 0
    c.send_query("SELECT i FROM generate_series(1, 1000) i")
    c.set_single_row_mode
    c.get_result.stream_each { n += 1 }
    same(n, 1000)
  end
end

STEPS['notify'] = lambda do
  connect do |listener|
    connect do |sender|
      listener.exec('LISTEN c_ruby_channel')
      sender.exec_params("SELECT pg_notify('c_ruby_channel', $1)", ['one'])
      sender.exec("NOTIFY c_ruby_channel, 'two'")
      seen = []
      2.times { listener.wait_for_notify(10) { |_, _, payload| seen << payload } }
      same(seen, %w[one two])
    end
  end
end

STEPS['cursor'] = lambda do
  connect do |c|
    c.transaction do
      c.exec('DECLARE numbers SCROLL CURSOR FOR SELECT i FROM generate_series(1, 1000) i')
      all = []
      until (rows = c.exec('FETCH 100 FROM numbers').column_values(0)).empty?
        all.concat(rows)
      end
      same(all.map(&:to_i), (1..1000).to_a)
      c.exec('DECLARE held CURSOR WITH HOLD FOR SELECT i FROM generate_series(1, 1000) i')
    end
    same(one(c, 'FETCH held'), '1')
    c.exec('CLOSE held')
  end
end

def goes_on(name)
  connect(application_name: 'goes on') do |c|
    t = fresh(c, name, 'i int')
    c.exec("SET work_mem = '5MB'")
    puts "ready-for #{name}"
    acknowledged = []
    states = []
    left = 50
    number = 0
    deadline = Time.now + 120
    while left.positive?
      raise 'the change took longer than two minutes' if Time.now > deadline

      left -= 1 if File.exist?(File.join(SIGNALS, name))
      number += 1
      begin
        insert = -> { c.exec_params("INSERT INTO #{t} VALUES ($1)", [number]) }
        number.even? ? c.transaction { insert.call } : insert.call
        acknowledged << number
      rescue PG::Error => e
        raise "#{state_of(e)} #{e.message}" if name == 'switchover' || !%w[40001 08007].include?(state_of(e))

        states << state_of(e)
      end
      sleep 0.02
    end
    raise "writes refused: #{states}" if states.size > 4

    found = c.exec("SELECT i FROM #{t}").column_values(0).map(&:to_i)
    same(acknowledged - found, [], 'lost acknowledged writes')
    same(found.uniq.size, found.size, 'writes carried out twice')
    same(one(c, 'SHOW work_mem'), '5MB', 'setting of the session')
    same(one(c, 'SHOW application_name'), 'goes on')
  end
end

%w[switchover crash].each { |name| STEPS[name] = -> { goes_on(name) } }

WANTED.each do |name|
  if STEPS[name]
    STEPS[name].call
    puts "ok #{name}"
  else
    puts "skip #{name} - the driver has no such thing"
  end
rescue StandardError => e
  warn e.backtrace.first(5) if ENV['TRACE']
  puts "not ok #{name} - #{e.class}: #{e.message.gsub("\n", ' | ')}"
end
