/** Tags of https://google.github.io/sqlcommenter/spec that go into the log; what else a comment says is the application's own. */
const KNOWN = new Set([
  'action',
  'application',
  'controller',
  'db_driver',
  'framework',
  'route',
  'traceparent',
  'tracestate',
]);
const MAX_VALUE = 256;
/** A comment of tags is short, and stands at the end (some libraries put it in front). */
const MAX_COMMENT = 4096;

const TAG = /^\s*([A-Za-z0-9_.%-]+)='((?:[^'\\]|\\.)*)'\s*$/;

/** The tags of the last comment of a statement, else of the first; empty where there is none. */
export function commentTags(text: string): Readonly<Record<string, string>> {
  const end = text.replace(/[\s;]+$/, '');
  if (end.endsWith('*/')) {
    const start = end.lastIndexOf('/*');
    const tags = start >= 0 && end.length - start <= MAX_COMMENT ? parse(end.slice(start + 2, -2)) : {};
    if (Object.keys(tags).length > 0) return tags;
  }
  const front = /^\s*\/\*/.exec(text);
  const close = front === null ? -1 : text.indexOf('*/');
  return front !== null && close >= 0 && close <= MAX_COMMENT ? parse(text.slice(front[0].length, close)) : {};
}

function parse(comment: string): Record<string, string> {
  const tags: Record<string, string> = {};
  for (const pair of comment.split(',')) {
    const match = TAG.exec(pair);
    if (match === null) continue;
    const [key, value] = [decoded(match[1] as string), decoded((match[2] as string).replaceAll(/\\(.)/g, '$1'))];
    if (KNOWN.has(key)) tags[key] = value.slice(0, MAX_VALUE);
  }
  return tags;
}

/** URL-encoded; what is not is taken as it stands. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
