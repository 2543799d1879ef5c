/**
 * A normalised statement for people. The classifier's key has one quote where a string literal was, and 0 where a number was;
 * a quote in a quoted name is a name's.
 */
export function shownStatement(key: string): string {
  return key.replaceAll(/"(?:[^"]|"")*"|'/g, (match) => (match === "'" ? "'…'" : match));
}
