/** The words of `Classification.reason`, as a sentence for people (EXPLAIN (ROUTE), logs). */
export function inWords(reason: string): string {
  const colon = reason.indexOf(':');
  const word = colon < 0 ? reason : reason.slice(0, colon);
  const name = colon < 0 ? '' : reason.slice(colon + 1);
  return WORDS[word]?.(name) ?? reason;
}

const WORDS: Readonly<Record<string, (name: string) => string>> = {
  empty: () => 'there is nothing in it',
  read: () => 'it only reads, and calls nothing that may write',
  write: () => 'it writes',
  ddl: () => 'it changes the schema',
  'ddl-relation': () => 'it makes or drops a relation, or changes one',
  utility: () => 'it is a command that only the leader takes',
  'locking-read': () => 'it locks rows, which is a write',
  'volatile-function': (name) => `it calls ${name}(), which may write, or is bound to the leader or the session`,
  'unknown-function': (name) => `it calls ${name}(), and the catalog does not know it (yet): it may write`,
  'volatile-operator': (name) => `the function behind operator ${name} is volatile: it may write`,
  'volatile-type': (name) => `the function behind a cast to ${name} is volatile: it may write`,
  'volatile-relation': (name) => `view or policy of ${name} calls a volatile function: it may write`,
  'volatile-attribute': (name) => `.${name} may be the call of a volatile function`,
  'system-function': (name) => `${name}() describes the node that runs it (routing.systemCatalogs)`,
  'system-catalog': (name) => `${name} describes the node that it is read on (routing.systemCatalogs)`,
  'system-setting': (name) => `${name} describes the node that it is read on (routing.systemCatalogs)`,
  'learned-write': () => 'a follower refused such a statement as a write (25006)',
  'temporary-objects': () => 'it is about temporary objects, which only the session’s own server has',
  'copy-from': () => 'COPY FROM writes',
  'copy-to-file': () => 'it writes a file of the server, or runs a program there',
  'two-phase': () => 'prepared transactions are the leader’s',
  transaction: () => 'it begins or ends a transaction',
  setting: () => 'it is about the session’s settings',
  session: () => 'it is about the session',
  'session-state': () => 'it leaves something in the session’s server',
  cursor: () => 'cursors live in the transaction’s server',
  listen: () => 'notifications are sent on the leader',
  execute: () => 'what EXECUTE runs was prepared on the session’s server',
  hint: () => 'a comment asked for the leader',
  'too-complex': () => 'it names more functions, operators and relations than are looked up',
  unparsed: () => 'it could not be parsed, or is too large to be',
};
