import type { Faults } from './faults.ts';

export function stopEtcd(faults: Faults): void {
  const { etcd } = faults.targets;
  etcd.process.stop();
  faults.lasting(faults.duration(), () => etcd.resume());
}

export function etcdDown(faults: Faults): void {
  const { etcd } = faults.targets;
  if (!etcd.process.alive) return;
  etcd.process.kill();
  faults.lasting(faults.duration(), () => etcd.restart());
}

export function loseAnswers(faults: Faults): void {
  const { etcd } = faults.targets;
  etcd.lossRate = 0.3;
  faults.lasting(faults.duration(), () => {
    etcd.lossRate = 0;
  });
}

/** Once, or again and again for a while, so that clients that read anew are overtaken by the next one; some lose their watch too. */
export function compact(faults: Faults): void {
  const { context, targets } = faults;
  const { random, scheduler } = context;
  let on = true;
  const everyMs = random.pick([50, 300, 1000]);
  const again = (): void => {
    if (!on) return;
    targets.etcd.breakWatches(0.5);
    targets.etcd.compact();
    scheduler.after(everyMs * random.between(0.5, 1.5), again);
  };
  again();
  faults.lasting(random.chance(0.3) ? 1 : faults.duration(), () => {
    on = false;
  });
}
