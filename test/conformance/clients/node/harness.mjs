/** What the Node clients share: the order of the steps, the lines that the suite reads, the loop that goes on through a change of leader. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';

const [client, signals, ...wanted] = process.argv.slice(2);
/** What a session may be told when its leader was lost; whatever else comes is a fault. */
const ALLOWED = ['40001', '08007'];

export const TEXT = `Grüße, 世界 🌍 'quoted' \\ "double"\nsecond line`;
export const BIG_INT = '9223372036854775807';
export const NUMERIC = '12345678901234567890.123456789';
export const BYTES = Buffer.from([0, 1, 39, 92, 254, 255]);
export const UUID = '0198c2f0-5b7a-7c3d-8e4f-0123456789ab';

export const table = (name) => `c_${client}_${name}`.replace(/[.-]/g, '_');

export function same(got, expected, what = 'value') {
  if (isDeepStrictEqual(got, expected)) return;
  throw new Error(`${what}: got ${shown(got)}, wanted ${shown(expected)}`);
}

function shown(value) {
  return (JSON.stringify(value, (_, v) => (typeof v === 'bigint' ? `${v}n` : v)) ?? 'undefined').slice(0, 300);
}

/** The call is refused with this SQLSTATE; gives the error. */
export async function refused(call, state) {
  let error;
  try {
    await call();
  } catch (caught) {
    error = caught;
  }
  if (error === undefined) throw new Error(`not refused, wanted ${state}`);
  if (error.code !== state) throw new Error(`SQLSTATE ${error.code} (${error.message}), wanted ${state}`);
  return error;
}

export async function until(condition, what) {
  const deadline = performance.now() + 10_000;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`not within ten seconds: ${what}`);
    await sleep(10);
  }
}

export async function run(steps) {
  for (const name of wanted) {
    try {
      if (steps[name] === undefined) console.log(`skip ${name} - the driver has no such thing`);
      else {
        await steps[name]();
        console.log(`ok ${name}`);
      }
    } catch (error) {
      if (process.env['TRACE'] !== undefined) console.error(error);
      console.log(`not ok ${name} - ${error.code ?? ''} ${String(error.message).replaceAll('\n', ' | ')}`);
    }
  }
  process.exit(0);
}

/** Writes each 20 ms, in turn alone and in a transaction, until the change is over and 50 writes more. Acknowledged ids. */
export async function goOn(name, write) {
  console.log(`ready-for ${name}`);
  const acknowledged = [];
  const states = [];
  const deadline = performance.now() + 120_000;
  for (let number = 1, left = 50; left > 0; number += 1) {
    if (performance.now() > deadline) throw new Error('the change took longer than two minutes');
    if (existsSync(join(signals, name))) left -= 1;
    try {
      await write(number, number % 2 === 0);
      acknowledged.push(number);
    } catch (error) {
      if (name === 'switchover' || !ALLOWED.includes(error.code)) throw error;
      states.push(error.code);
    }
    await sleep(20);
  }
  if (states.length > 4) throw new Error(`${states.length} writes refused: ${states.join()}`);
  return acknowledged;
}

export function allFound(found, acknowledged) {
  const there = new Set(found);
  const missing = acknowledged.filter((number) => !there.has(number));
  if (missing.length > 0)
    throw new Error(`${missing.length} acknowledged writes are lost: ${missing.slice(0, 10).join()}`);
  if (there.size !== found.length) throw new Error('a write was carried out twice');
}
