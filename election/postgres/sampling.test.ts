import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parseLsn } from '../../common/lsn.ts';
import { parseControlData } from './control-data.ts';
import { parseHistory, segmentSuffix, timelineOf } from './sampling.ts';

const HISTORY = '1\t0/3000060\tno recovery target specified\n\n2\t0/5000100\tno recovery target specified\n';

describe('where a server stands', () => {
  test('a history file gives each parent and its end, oldest first', () => {
    assert.deepEqual(parseHistory(HISTORY), [
      { timeline: 1, endLsn: parseLsn('0/3000060') },
      { timeline: 2, endLsn: parseLsn('0/5000100') },
    ]);
  });

  for (const [name, lsn, timeline] of [
    ['below the first fork a position is the first timeline’s', '0/3000000', 1],
    ['at the fork it holds no more than the parent', '0/3000060', 1],
    ['behind the fork it is the next timeline’s', '0/3000061', 2],
    ['behind the last fork it is the newest', '0/5000101', 3],
  ] as const) {
    test(name, () => assert.equal(timelineOf(parseLsn(lsn), 3, parseHistory(HISTORY)), timeline));
  }

  test('a position is found in its WAL file by name', () => {
    const mega16 = 16n * 1024n * 1024n;
    assert.equal(segmentSuffix(parseLsn('0/3000060'), mega16), '0000000000000003');
    assert.equal(segmentSuffix(parseLsn('2/FF000000'), mega16), '00000002000000FF');
    assert.equal(segmentSuffix(parseLsn('1/80000000'), 1024n ** 3n), '0000000100000002');
  });

  test('the control file tells a clean shutdown from a crash, and the newest timeline replayed', () => {
    const text = (state: string) =>
      [
        'Database system identifier:           7300000000000000001',
        `Database cluster state:               ${state}`,
        'Latest checkpoint location:           0/2000028',
        "Latest checkpoint's TimeLineID:       1",
        "Min recovery ending loc's timeline:   2",
      ].join('\n');
    const parsed = parseControlData(text('shut down in recovery'));
    assert.deepEqual(parsed, {
      systemId: '7300000000000000001',
      timeline: 2,
      checkpointLsn: parseLsn('0/2000028'),
      cleanShutdown: true,
    });
    assert.equal(parseControlData(text('in production')).cleanShutdown, false);
    assert.throws(() => parseControlData(''), /Database cluster state/);
  });
});
