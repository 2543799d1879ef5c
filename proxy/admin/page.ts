import { createHash } from 'node:crypto';
import { PAGE_SCRIPT } from './page-script.ts';

/**
 * The live page at `/`: one document, nothing loaded from elsewhere. It is text in a module, not a file beside it,
 * so that it is in every package and image that has the code.
 */
const STYLE = `
:root { color-scheme: light dark; --line: light-dark(#d5d9e0, #363c47); --soft: light-dark(#5a6472, #a3adbb);
  --good: light-dark(#1a7f37, #4ac26b); --bad: light-dark(#b42318, #ff7b72); --warn: light-dark(#9a6700, #e3b341);
  --card: light-dark(#ffffff, #1c2128); }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem; max-width: 72rem; font: 16px/1.5 system-ui, sans-serif;
  background: light-dark(#f5f7fa, #12161c); color: light-dark(#1c2430, #e6eaf0); }
header { display: flex; flex-wrap: wrap; gap: .25rem 1.5rem; align-items: baseline; }
h1 { font-size: 1.4rem; margin: 0; }
h2 { font-size: 1.1rem; margin: 1.75rem 0 .5rem; }
.soft { color: var(--soft); }
#banner { margin: 1rem 0; padding: .75rem 1rem; border: 1px solid var(--line); border-left: .4rem solid var(--soft);
  border-radius: .4rem; background: var(--card); font-weight: 600; }
#banner.good { border-left-color: var(--good); }
#banner.warn { border-left-color: var(--warn); }
#banner.bad { border-left-color: var(--bad); }
.scroll { overflow-x: auto; border: 1px solid var(--line); border-radius: .4rem; background: var(--card); }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .45rem .55rem; font-size: .95rem; text-align: left; white-space: nowrap; border-bottom: 1px solid var(--line); }
tbody tr:last-child > * { border-bottom: 0; }
thead th { font-size: .85rem; color: var(--soft); font-weight: 600; }
.number { text-align: right; }
td.note { white-space: normal; color: var(--soft); min-width: 12rem; }
.empty { margin: .5rem .55rem; }
.leader { font-weight: 700; }
.state-good { color: var(--good); } .state-warn { color: var(--warn); } .state-bad { color: var(--bad); }
footer { margin-top: 2rem; font-size: .9rem; }
#drill-now { margin: .5rem 0 1rem; padding: .75rem 1rem; border: 1px solid var(--line); border-left: .4rem solid var(--warn);
  border-radius: .4rem; background: var(--card); }
#drill-title { margin: 0; font-weight: 600; }
#drill-steps { margin: .5rem 0 0; white-space: pre-wrap; overflow-wrap: anywhere; font: .9rem/1.5 ui-monospace, monospace; }
a { color: inherit; }
`;

const BODY = `
<header>
  <h1>Leasehold <span id="cluster"></span></h1>
  <span class="soft">term <b id="term">–</b></span>
  <span class="soft" id="seen">loading</span>
</header>
<main>
  <p id="banner" role="status" aria-live="polite">Asking the proxy…</p>
  <section id="drill-now" hidden aria-labelledby="drill-title"><p id="drill-title"></p><pre id="drill-steps"></pre></section>
  <h2 id="nodes-title">Servers</h2>
  <div class="scroll" tabindex="0" role="region" aria-labelledby="nodes-title">
    <table aria-labelledby="nodes-title">
      <thead><tr><th scope="col">Node</th><th scope="col">Role</th><th scope="col">State</th><th scope="col">Reads</th>
        <th scope="col" class="number">Lag</th><th scope="col" class="number">Freshness</th><th scope="col">Timeline</th>
        <th scope="col">Replayed</th><th scope="col">Address</th><th scope="col">Note</th></tr></thead>
      <tbody id="nodes"></tbody>
    </table>
  </div>
  <h2 id="proxies-title">Proxies</h2>
  <div class="scroll" tabindex="0" role="region" aria-labelledby="proxies-title">
    <table aria-labelledby="proxies-title">
      <thead><tr><th scope="col">Proxy</th><th scope="col">Address</th><th scope="col" class="number">Held writes</th>
        <th scope="col" class="number">In flight</th><th scope="col" class="number">Clients</th>
        <th scope="col">State</th></tr></thead>
      <tbody id="proxies"></tbody>
    </table>
  </div>
  <h2 id="pools-title">Pools of this proxy</h2>
  <div class="scroll" tabindex="0" role="region" aria-labelledby="pools-title">
    <table aria-labelledby="pools-title">
      <thead><tr><th scope="col">Database</th><th scope="col">User</th><th scope="col" class="number">Clients served</th>
        <th scope="col" class="number">Waiting</th><th scope="col" class="number">Longest wait</th>
        <th scope="col" class="number">Servers busy</th><th scope="col" class="number">Idle</th>
        <th scope="col" class="number">Pinned</th><th scope="col">State</th></tr></thead>
      <tbody id="pools"></tbody>
    </table>
    <p class="soft empty" id="no-pools">No connection to a server is in use or kept.</p>
  </div>
  <h2 id="drills-title">Drills</h2>
  <div class="scroll" tabindex="0" role="region" aria-labelledby="drills-title">
    <table aria-labelledby="drills-title">
      <thead><tr><th scope="col">Began (UTC)</th><th scope="col">Drill</th><th scope="col">Target</th><th scope="col">Outcome</th>
        <th scope="col" class="number">Writes still</th><th scope="col" class="number">Predicted</th>
        <th scope="col" class="number">Reads still</th><th scope="col" class="number">Acknowledged</th>
        <th scope="col" class="number">Missing</th><th scope="col">Leader</th></tr></thead>
      <tbody id="drills"></tbody>
    </table>
    <p class="soft empty" id="no-drills">Asking for drills…</p>
  </div>
</main>
<footer class="soft">
  As the proxy <b id="self">–</b> sees it. Also: <a href="/status">status</a> · <a href="/history">history</a> · <a href="/drills">drills</a> ·
  <a href="/metrics">metrics</a> · <a href="/ready">readiness</a>
  <noscript><p>This page needs JavaScript; <a href="/status">/status</a> has the same as JSON.</p></noscript>
</footer>
`;

export const PAGE = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Leasehold</title>
<link rel="icon" href="data:,">
<style>${STYLE}</style>
</head>
<body>${BODY}<script>${PAGE_SCRIPT}</script></body>
</html>
`;

/** Nothing but this very style and script, and requests to this proxy. */
export const PAGE_POLICY = [
  `default-src 'none'`,
  `style-src 'sha256-${hash(STYLE)}'`,
  `script-src 'sha256-${hash(PAGE_SCRIPT)}'`,
  `connect-src 'self'`,
  `img-src data:`,
  `base-uri 'none'`,
  `form-action 'none'`,
  `frame-ancestors 'none'`,
].join('; ');

function hash(text: string): string {
  return createHash('sha256').update(text).digest('base64');
}
