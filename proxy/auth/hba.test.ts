import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { addressBytes } from './addresses.ts';
import { findRule } from './hba-match.ts';
import { type HbaRule, parseAll, parseHbaLine } from './hba-rules.ts';
import { type HbaFiles, readHbaText } from './hba-text.ts';
import { isMapped, parseIdentLine } from './ident-map.ts';
import type { ClientFacts, RuleQuestions } from './policy.ts';

const FILES: Readonly<Record<string, string>> = {
  '/etc/names': 'alice, "bob smith"\ncarol # a comment\n@more\n',
  '/etc/more': 'dave',
  '/etc/loop.conf': 'include loop.conf\n',
  '/etc/d/b.conf': 'local b all trust\n',
  '/etc/d/a.conf': 'local a all trust\n',
  '/etc/d/.hidden.conf': 'nonsense\n',
  '/etc/d/readme': 'nonsense\n',
};
const files: HbaFiles = {
  read: (path) => {
    const text = FILES[path];
    if (text === undefined) throw new Error('there is no such file');
    return text;
  },
  list: (folder) =>
    Object.keys(FILES)
      .filter((path) => path.startsWith(`${folder}/`))
      .map((path) => path.slice(folder.length + 1)),
  resolve: (_, path) => (path.startsWith('/') ? path : `/etc/${path}`),
  exists: (path) => path in FILES,
};

function parse(text: string): { rules: HbaRule[]; faults: string[] } {
  const read = readHbaText('/etc/pg_hba.conf', text, files);
  const { rules, faults } = parseAll(read.lines, parseHbaLine);
  return { rules, faults: [...read.faults, ...faults].map(({ file, line, message }) => `${file}:${line}: ${message}`) };
}

function tokens(text: string): string[][][] {
  return readHbaText('/etc/pg_hba.conf', text, files).lines.map(({ fields }) =>
    fields.map((field) => field.map((token) => (token.quoted ? `<${token.text}>` : token.text))),
  );
}

describe('the text of pg_hba.conf', () => {
  const cases: readonly (readonly [name: string, text: string, fields: string[][][]])[] = [
    ['comments and empty lines', '# a\n\n  \t\nlocal all # b\n', [[['local'], ['all']]]],
    ['lists, with blanks after commas', 'host a,b, c x', [[['host'], ['a', 'b', 'c'], ['x']]]],
    ['quotes, with blanks, commas and #', 'host "a b,#c" x', [[['host'], ['<a b,#c>'], ['x']]]],
    ['a quote in quotes', 'host "a""b"', [[['host'], ['<a"b>']]]],
    ['quotes inside a word', 'host a"b c"d', [[['host'], ['ab cd']]]],
    ['an empty name', 'host ""', [[['host'], ['<>']]]],
    ['a continued line', 'host a\\\n b\nlocal', [[['host'], ['a'], ['b']], [['local']]]],
    [
      'Windows line ends',
      'host a\r\nlocal b\r\n',
      [
        [['host'], ['a']],
        [['local'], ['b']],
      ],
    ],
    ['names from a file', 'host @names x', [[['host'], ['alice', '<bob smith>', 'carol', 'dave'], ['x']]]],
    ['a quoted @', 'host "@names"', [[['host'], ['<@names>']]]],
    [
      'a folder',
      'include_dir d\n',
      [
        [['local'], ['a'], ['all'], ['trust']],
        [['local'], ['b'], ['all'], ['trust']],
      ],
    ],
    ['a file that need not be there', 'include_if_exists none\nlocal x', [[['local'], ['x']]]],
  ];
  for (const [name, text, fields] of cases) test(name, () => assert.deepEqual(tokens(text), fields));
});

describe('faults are told with file and line', () => {
  const cases: readonly (readonly [text: string, fault: string])[] = [
    ['hots all all all trust', 'invalid connection type "hots"'],
    ['host', 'end-of-line before database specification'],
    ['host all', 'end-of-line before role specification'],
    ['host all all', 'end-of-line before IP address specification'],
    ['host all all 10.0.0.0/8', 'end-of-line before authentication method'],
    ['local all all', 'end-of-line before authentication method'],
    ['host all all 10.0.0.0/33 trust', 'invalid CIDR mask in address "10.0.0.0/33"'],
    ['host all all example.org/8 trust', 'specifying both host name and CIDR mask is invalid: "example.org/8"'],
    ['host all all 10.0.0.0', 'end-of-line before netmask specification'],
    ['host all all 10.0.0.0 trust x', 'invalid IP mask "trust"'],
    ['host all all 10.0.0.0 ffff:: trust', 'IP address and mask do not match'],
    ['host all all all magic', 'invalid authentication method "magic"'],
    ['host all all all cert', 'cert authentication is only supported on hostssl connections'],
    ['host all all all trust clientcert=verify-ca', 'clientcert can only be configured for "hostssl" rows'],
    ['hostssl all all all trust clientcert=1', 'invalid value for clientcert: "1"'],
    ['hostssl all all all cert clientname=UID', 'invalid value for clientname: "UID"'],
    ['hostssl all all all md5 map=x', 'authentication option "map" is only valid for authentication method cert'],
    ['host all all all trust nonsense', 'authentication option not in name=value format: nonsense'],
    ['host all all all trust a=b', 'unrecognized authentication option name: "a"'],
    ['host all,x a,b all trust,md5', 'multiple values specified for authentication type'],
    ['host @nofile all all trust', 'could not open file "/etc/nofile": there is no such file'],
    ['include nofile', 'could not open file "/etc/nofile": there is no such file'],
  ];
  for (const [text, fault] of cases) {
    test(text, () =>
      assert.deepEqual(parse(`\nlocal all all trust\n${text}\n`).faults, [`/etc/pg_hba.conf:3: ${fault}`]),
    );
  }

  test('all of a file together', () => {
    assert.deepEqual(
      parse('x\nlocal all all trust\nhost all all all peer').faults.map((fault) => fault.split(': ')[0]),
      ['/etc/pg_hba.conf:1', '/etc/pg_hba.conf:3'],
    );
  });

  test('a file that includes itself', () => {
    assert.match(parse('include loop.conf').faults[0] ?? '', /maximum nesting depth exceeded/);
  });

  test('a regular expression that is none', () => {
    assert.match(parse('local "/(" all trust').faults[0] ?? '', /:1: invalid regular expression "\("/);
  });
});

const CLIENT: ClientFacts = {
  local: false,
  address: '10.1.2.3',
  encrypted: false,
  user: 'alice',
  database: 'shop',
  replication: 'off',
};

const questions: RuleQuestions = {
  memberOf: async () => new Set(['alice', 'staff', 'shop']),
  hasHostName: async (name) => name === 'db.example.org',
};

/** The method of the rule that fits, or null. */
async function decide(text: string, more: Partial<ClientFacts> = {}): Promise<string | null> {
  const { rules, faults } = parse(text);
  assert.deepEqual(faults, []);
  const own = [{ address: '10.1.0.1', netmask: '255.255.0.0' }];
  return (await findRule(rules, { ...CLIENT, ...more }, questions, () => own))?.method ?? null;
}

describe('a rule fits', () => {
  const cases: readonly (readonly [rule: string, fits: boolean, more?: Partial<ClientFacts>])[] = [
    ['local all all trust', false],
    ['local all all trust', true, { local: true, address: null }],
    ['host all all all trust', false, { local: true, address: null }],
    ['host all all all trust', true],
    ['host all all all trust', true, { encrypted: true }],
    ['hostssl all all all trust', false],
    ['hostssl all all all trust', true, { encrypted: true }],
    ['hostnossl all all all trust', true],
    ['hostnossl all all all trust', false, { encrypted: true }],
    ['hostgssenc all all all trust', false],
    ['hostnogssenc all all all trust', true],
    ['host shop all all trust', true],
    ['host Shop all all trust', false],
    ['host "all" all all trust', false],
    ['host a,shop all all trust', true],
    ['host sameuser all all trust', false],
    ['host sameuser all all trust', true, { database: 'alice' }],
    ['host samerole all all trust', true],
    ['host samegroup all all trust', false, { database: 'other' }],
    ['host "/^sh.p$" all all trust', true],
    ['host /^s[[:alpha:]]+$ all all trust', true],
    ['host /^x all all trust', false],
    ['host all alice all trust', true],
    ['host all bob all trust', false],
    ['host all +staff all trust', true],
    ['host all "+staff" all trust', false],
    ['host all +admin all trust', false],
    ['host all @names all trust', true],
    ['host all /^al all trust', true],
    ['host all all 10.1.2.3/32 trust', true],
    ['host all all 10.1.2.0/24 trust', true],
    ['host all all 10.1.3.0/24 trust', false],
    ['host all all 10.0.0.0 255.0.0.0 trust', true],
    ['host all all 10.1.2.3 255.255.255.254 trust', true],
    ['host all all ::/0 trust', false],
    ['host all all 2001:db8::/32 trust', true, { address: '2001:db8:0:1::9' }],
    ['host all all 2001:db9::/32 trust', false, { address: '2001:db8:0:1::9' }],
    ['host all all samenet trust', true],
    ['host all all samehost trust', false],
    ['host all all samehost trust', true, { address: '10.1.0.1' }],
    ['host all all db.example.org trust', true],
    ['host all all other.example.org trust', false],
    ['host all all all trust', false, { replication: 'physical' }],
    ['host replication all all trust', true, { replication: 'physical' }],
    ['host replication all all trust', false],
    ['host shop all all trust', true, { replication: 'database' }],
    ['host replication all all trust', false, { replication: 'database', database: 'replication' }],
  ];
  for (const [rule, fits, more] of cases) {
    const what = more === undefined ? '' : ` for ${JSON.stringify(more)}`;
    test(`${rule}: ${fits ? 'yes' : 'no'}${what}`, async () => {
      assert.equal(await decide(rule, more), fits ? 'trust' : null);
    });
  }

  test('the first one that does decides', async () => {
    assert.equal(await decide('host all bob all trust\nhost shop all all reject\nhost all all all trust'), 'reject');
  });

  test('memberships and host names are asked for only where they matter', async () => {
    const { rules } = parse('host all bob db.example.org trust\nhost all alice all md5\nhost all +staff all trust');
    const never = async (): Promise<never> => assert.fail('it does not matter');
    const rule = await findRule(rules, CLIENT, { memberOf: never, hasHostName: never }, () => []);
    assert.equal(rule?.method, 'md5');
  });
});

describe('a map of pg_ident.conf', () => {
  const text = `m  "Alice Smith"  alice
m  /^(.*)@example\\.org$  \\1
m  /^admin@  +staff
m  robot  "all"
n  root  all`;
  const { rules, faults } = parseAll(readHbaText('/etc/pg_ident.conf', text, files).lines, parseIdentLine);
  const cases: readonly (readonly [map: string | null, system: string, user: string, allowed: boolean])[] = [
    [null, 'alice', 'alice', true],
    [null, 'alice', 'bob', false],
    ['m', 'Alice Smith', 'alice', true],
    ['m', 'Alice Smith', 'bob', false],
    ['m', 'bob@example.org', 'bob', true],
    ['m', 'bob@example.org', 'alice', false],
    ['m', 'bob@example.com', 'bob', false],
    ['m', 'admin@anywhere', 'alice', true],
    ['m', 'robot', 'alice', false],
    ['n', 'root', 'anybody', true],
    ['n', 'alice', 'alice', false],
    ['none', 'alice', 'alice', false],
  ];
  for (const [map, system, user, allowed] of cases) {
    test(`${map ?? 'none'}: ${system} ${allowed ? 'may' : 'may not'} be ${user}`, async () => {
      assert.deepEqual(faults, []);
      assert.equal(await isMapped(rules, map, system, user, questions), allowed);
    });
  }
});

test('addresses are read as bytes', () => {
  assert.deepEqual(addressBytes('10.0.0.1'), [10, 0, 0, 1]);
  assert.deepEqual(addressBytes('::1'), [...Buffer.alloc(15), 1]);
  assert.deepEqual(addressBytes('1:2:3:4:5:6:7:8')?.slice(-2), [0, 8]);
  assert.deepEqual(addressBytes('::ffff:10.0.0.1')?.slice(-6), [255, 255, 10, 0, 0, 1]);
  assert.equal(addressBytes('10.0.0'), null);
  assert.equal(addressBytes('fe80::1%eth0'), null);
});
