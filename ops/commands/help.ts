/** What `--help` says below the options. */
export const UP_EXAMPLES = `
Examples:
  leasehold up                                   three nodes, one proxy on 127.0.0.1:6432
  leasehold up --ephemeral --proxy-port 7432 --http-port 7480
  leasehold up --dir /srv/pg --nodes 5 --proxies 2
  leasehold up --set proxy.routing.consistency=strong --set cluster.syncAcks=2`;

export const SETTINGS = `
Settings come from flags, then the environment, then the file, then defaults. Every setting has a variable:
  proxy.listen.port    LEASEHOLD_PROXY_LISTEN_PORT
  service.password     LEASEHOLD_SERVICE_PASSWORD, or LEASEHOLD_SERVICE_PASSWORD_FILE for a file that holds it
  cluster.etcd         LEASEHOLD_CLUSTER_ETCD=http://a:2379,http://b:2379`;

export const ADOPT_HELP = `
The data stay where they are: a role for the agent (leasehold), those that proxies and followers log in with, and the schema
leasehold are made in them. Stop PostgreSQL first. Roles keep their passwords, databases their contents.

Example:
  pg_ctl stop -D /srv/pg/data
  leasehold adopt --config node1.yaml --data-dir /srv/pg/data
  leasehold agent --config node1.yaml --data-dir /srv/pg/data`;

export const FORCED_EXAMPLES = `
The leader and too many followers are lost for good, and "leasehold status" shows what the others wait for:
  leasehold failover --allow-data-loss --node node2
It is refused while somebody leads or can be promoted without a loss, while a node that is there has not said what
it holds, and while another one holds more. A node that returns with more keeps its data in
<dataDir>.leasehold/kept, and gets the new leader's.`;

export const PAUSE_HELP = `
While it is paused nobody takes over by itself. The leader leads on; if it is lost, writes are held until it is back, and it leads
again at once. A node whose PostgreSQL does not start or does not stream is not cloned anew. A leader whose lease cannot be renewed (etcd is away) is fenced as ever.
"leasehold switchover" works, and so does a failover with --allow-data-loss. A pause outlives restarts of everything.

Example:
  leasehold pause --reason "new switches in rack 2"`;

export const CONFIG_SET_HELP = `
Settings: syncAcks (on how many followers each commit must be), withoutFollower (go-on or hold).
They are in force as soon as the agents see them, without a restart; a change never promises more than is kept.

Example:
  leasehold config set syncAcks=2 withoutFollower=hold`;

export const TOPICS = `
Try it:
  leasehold up                      a cluster on this machine; ends with a connection string
  leasehold status                  (in another terminal) where every node stands
  leasehold drill crash             kill the leader and see what an application sees
  leasehold switchover              move the leader without an error
  leasehold drill --help            what else can be rehearsed, and how

For real: one "leasehold agent" beside each PostgreSQL server, two or more "leasehold proxy", three etcd.
Exit codes: 0 done, 1 failed, 2 wrong command or configuration.`;
