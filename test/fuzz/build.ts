import type { Item, Message } from './messages.ts';

/** Short names for what programs are written with by hand. */
export const q = (sql: string): Message => ({ type: 'query', sql });
export const parse = (name: string, sql: string): Message => ({ type: 'parse', name, sql, oids: [] });
export const bind = (portal: string, statement: string, ...values: string[]): Message => ({
  type: 'bind',
  portal,
  statement,
  formats: [],
  values,
  results: [],
});
export const execute = (portal: string, maxRows = 0): Message => ({ type: 'execute', portal, maxRows });
export const describe = (kind: 'S' | 'P', name: string): Message => ({ type: 'describe', kind, name });
export const close = (name: string): Message => ({ type: 'close', kind: 'S', name });
export const run = (portal: string, sql: string): Message[] => [parse('', sql), bind(portal, ''), execute(portal)];
export const data = (text: string): Message => ({ type: 'copy-data', text });
export const DONE: Message = { type: 'copy-done' };
export const FLUSH: Message = { type: 'flush' };
export const SYNC: Message = { type: 'sync' };
export const WAIT: Item = { type: 'wait' };
