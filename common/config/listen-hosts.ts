/** `proxy.listen.host` is a list as PostgreSQL's listen_addresses: names and addresses with commas between, `*` for every address. */
export function listenHosts(host: string): readonly string[] {
  const hosts = host
    .split(',')
    .map((each) => each.trim())
    .filter((each) => each !== '');
  return [...new Set(hosts.flatMap((each) => (each === '*' ? ANY_ADDRESS : [each])))];
}

/** Every address of both families. */
export const ANY_ADDRESS: readonly string[] = ['0.0.0.0', '::'];
