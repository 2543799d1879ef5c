import { DRILLS_SCRIPT } from './page-drills.ts';

/** Runs in the browser: asks `/status` every second and writes what it says into the page, as text only. */
export const PAGE_SCRIPT = String.raw`
'use strict';
const byId = (id) => document.getElementById(id);
const STATE_CLASS = { LEADER_OPEN: 'state-good', FOLLOWER: 'state-good', GONE: 'state-bad', FENCED: 'state-bad', DEMOTING: 'state-bad' };
let lastAnswer = null;

function bytes(n) {
  if (n === null) return '–';
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let i = 0;
  while (n >= 1024 && i < units.length - 1) { n /= 1024; i++; }
  return (i === 0 ? n : n.toFixed(1)) + ' ' + units[i];
}

function duration(ms) {
  if (ms === null) return '–';
  return ms < 1000 ? Math.round(ms) + ' ms' : (ms / 1000).toFixed(1) + ' s';
}

function setText(element, value) {
  if (element.textContent !== value) element.textContent = value;
}

function setLink(element, cell) {
  let link = element.firstElementChild;
  if (!link) {
    link = document.createElement('a');
    element.append(link);
  }
  setText(link, cell.text);
  if (link.getAttribute('href') !== cell.href) link.setAttribute('href', cell.href);
}

async function ask(path) {
  const response = await fetch(path, { cache: 'no-store', signal: AbortSignal.timeout(3000) });
  if (!response.ok) throw new Error('answer ' + response.status);
  return response.json();
}

/** Cells are changed in place, so that a selection or a screen reader's position survives. */
function fill(table, rows) {
  while (table.rows.length > rows.length) table.deleteRow(-1);
  rows.forEach((cells, r) => {
    const row = table.rows[r] || table.insertRow();
    cells.forEach((cell, c) => {
      let element = row.cells[c];
      if (!element) {
        element = document.createElement(c === 0 ? 'th' : 'td');
        if (c === 0) element.scope = 'row';
        row.append(element);
      }
      if (cell.href) setLink(element, cell);
      else setText(element, cell.text);
      element.className = cell.className || '';
    });
  });
}

function nodeCells(node) {
  const reads = node.role === 'leader' ? 'when needed' : node.usable ? 'yes' : 'no';
  return [
    { text: node.node, className: node.role === 'leader' ? 'leader' : '' },
    { text: node.role, className: node.role === 'leader' ? 'leader' : '' },
    { text: node.state, className: STATE_CLASS[node.state] || 'state-warn' },
    { text: reads },
    { text: bytes(node.lagBytes), className: 'number' },
    { text: node.role === 'leader' ? 'now' : duration(node.freshnessMs), className: 'number' },
    { text: String(node.timeline) },
    { text: node.replayedLsn },
    { text: node.address },
    { text: node.note || '', className: 'note' },
  ];
}

function proxyCells(proxy, self) {
  return [
    { text: proxy.id },
    { text: proxy.address },
    { text: String(proxy.heldWrites), className: 'number' },
    { text: String(proxy.inFlight), className: 'number' },
    { text: proxy.id === self.id && proxy.draining === self.draining ? self.clients + ' of ' + self.maxClients : '–', className: 'number' },
    { text: proxy.draining ? 'draining' : 'serving', className: proxy.draining ? 'state-warn' : 'state-good' },
  ];
}

function poolCells(pool) {
  return [
    { text: pool.database },
    { text: pool.user },
    { text: String(pool.clientsActive), className: 'number' },
    { text: String(pool.clientsWaiting), className: pool.clientsWaiting > 0 ? 'number state-warn' : 'number' },
    { text: pool.clientsWaiting > 0 ? duration(pool.longestWaitMs) : '–', className: 'number' },
    { text: String(pool.serversActive), className: 'number' },
    { text: String(pool.serversIdle), className: 'number' },
    { text: String(pool.serversPinned), className: 'number' },
    { text: pool.paused ? 'paused' : 'open', className: pool.paused ? 'state-warn' : 'state-good' },
  ];
}

function banner(kind, text) {
  const element = byId('banner');
  if (element.className !== kind) element.className = kind;
  setText(element, text);
}

function describe(status) {
  const held = status.proxies.reduce((sum, proxy) => sum + proxy.heldWrites, 0);
  const waiting = held === 0 ? 'No write is waiting.' : held + (held === 1 ? ' write is' : ' writes are') + ' held.';
  if (status.self.draining) return ['warn', 'This proxy is stopping: it takes no new clients. ' + waiting];
  if (status.self.paused) return ['warn', 'An operator has paused a database here: its clients wait until RESUME. ' + waiting];
  if (status.pause !== null) {
    const why = 'Automatic failover is paused by ' + status.pause.by + (status.pause.reason === null ? '' : ' (' + status.pause.reason + ')');
    const now = status.writable ? 'writes go to ' + status.leader.node : 'writes are held until that node is back, or until "leasehold resume"';
    return [status.writable ? 'warn' : 'bad', why + '; ' + now + '. ' + waiting];
  }
  if (status.writable) {
    if (held === 0) return ['good', 'Writes go to ' + status.leader.node + '. ' + waiting];
    return ['warn', 'Writes go to ' + status.leader.node + '; elsewhere ' + waiting];
  }
  if (status.leader === null) return ['bad', 'No leader yet. ' + waiting];
  const why = status.route.hold ? 'a new leader is being made ready' : 'the lease of ' + status.leader.node + ' is not confirmed';
  return ['bad', 'Writes are held: ' + why + '. ' + waiting];
}

function show(status) {
  setText(byId('cluster'), status.cluster);
  setText(byId('term'), String(status.term));
  setText(byId('self'), status.self.id);
  document.title = (status.writable ? '' : '● held – ') + 'Leasehold ' + status.cluster;
  banner(...describe(status));
  fill(byId('nodes'), status.nodes.map(nodeCells));
  fill(byId('proxies'), status.proxies.map((proxy) => proxyCells(proxy, status.self)));
  fill(byId('pools'), status.pools.map(poolCells));
  byId('no-pools').hidden = status.pools.length > 0;
}

async function poll() {
  try {
    show(await ask('/status'));
    lastAnswer = Date.now();
    setText(byId('seen'), 'live');
  } catch (error) {
    const since = lastAnswer === null ? '' : ' for ' + Math.round((Date.now() - lastAnswer) / 1000) + ' s; what is below is from then';
    banner('bad', 'This proxy does not answer' + since + '.');
    setText(byId('seen'), 'not live');
  }
  setTimeout(poll, 1000);
}
${DRILLS_SCRIPT}
poll();
pollDrills();
`;
