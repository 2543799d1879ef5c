/**
 * The page's part on drills, within PAGE_SCRIPT: which one runs, asked every two seconds, and the last ones, asked for when the page
 * is opened and when a drill has begun or ended (etcd gives the reports whole).
 */
export const DRILLS_SCRIPT = String.raw`
const SHOWN_DRILLS = 8;
const OUTCOME_CLASS = { passed: 'state-good', failed: 'state-bad', aborted: 'state-warn' };
let listedFor = null;

function drillCells(drill) {
  const leader = drill.leaderBefore === drill.leaderAfter ? drill.leaderAfter : drill.leaderBefore + ' → ' + drill.leaderAfter;
  return [
    { text: drill.startedAt.slice(0, 16).replace('T', ' '), href: '/drills/' + drill.id + '.html' },
    { text: drill.kind },
    { text: drill.target },
    { text: drill.outcome, className: OUTCOME_CLASS[drill.outcome] || '' },
    { text: duration(drill.writeStallMs), className: 'number' },
    { text: duration(drill.predictedMs), className: 'number' },
    { text: duration(drill.readStallMs), className: 'number' },
    { text: String(drill.acknowledged), className: 'number' },
    { text: String(drill.missing), className: drill.missing > 0 ? 'number state-bad' : 'number' },
    { text: leader || '–' },
  ];
}

function showRunning(now) {
  const { running, lines } = now;
  byId('drill-now').hidden = running === null;
  if (running === null) return;
  const seconds = Math.max(0, Math.round((Date.now() - Date.parse(running.startedAt)) / 1000));
  const ending = running.abort ? ', asked to end' : '';
  setText(byId('drill-title'), 'A drill is running: ' + running.kind + ', for ' + seconds + ' s, by ' + running.by + ', on ' + running.proxy + ending + '.');
  const steps = lines.length > 0 ? lines.join('\n') : 'Its steps are on the page of ' + running.proxy + '.';
  setText(byId('drill-steps'), steps);
}

function showDrills(drills) {
  fill(byId('drills'), drills.slice(0, SHOWN_DRILLS).map(drillCells));
  const none = byId('no-drills');
  none.hidden = drills.length > 0;
  setText(none, 'No drill has been run yet: leasehold drill switchover --dry-run says what one would do.');
}

async function pollDrills() {
  try {
    const now = await ask('/drills/now');
    showRunning(now);
    const id = now.running === null ? '' : now.running.id;
    if (id !== listedFor) {
      showDrills((await ask('/drills')).drills);
      listedFor = id;
    }
  } catch (error) {
    byId('drill-now').hidden = true;
    listedFor = null;
    const none = byId('no-drills');
    none.hidden = false;
    setText(none, 'What drills there are cannot be read now.');
  }
  setTimeout(pollDrills, 2000);
}
`;
