import assert from 'node:assert/strict';
import { isTsswarmError } from '../../base/errors.ts';
import { renderList, renderObjects } from './format.ts';

const COLUMNS = [
  { name: 'ID', heading: 'ID' },
  { name: 'Hostname', heading: 'HOSTNAME' },
  { name: 'Self', heading: 'SELF', hidden: true },
];
const ROWS = [
  { ID: 'abc', Hostname: 'm0', Self: true },
  { ID: 'def', Hostname: 'm1', Self: false },
];
const NODE = {
  ID: 'abc',
  Spec: {
    Role: 'manager',
    Labels: new Map([
      ['zone', 'b'],
      ['disk', 'ssd'],
    ]),
  },
  Status: { Addr: '10.0.0.1' },
  Names: ['x', 'y'],
  None: [],
};
const filled = (format: string): string => renderObjects(format, [NODE]).slice(0, -1);

describe('--format', () => {
  it('lists as a table, with other columns, as lines, and as JSON', () => {
    assert.equal(renderList(undefined, COLUMNS, ROWS), 'ID        HOSTNAME\nabc       m0\ndef       m1\n');
    assert.equal(
      renderList('table {{.Hostname}}\\t{{.Self}}', COLUMNS, ROWS),
      'HOSTNAME   SELF\nm0         true\nm1         false\n',
    );
    assert.equal(renderList('{{.ID}}: {{.Hostname}}', COLUMNS, ROWS), 'abc: m0\ndef: m1\n');
    assert.deepEqual(
      renderList('json', COLUMNS, ROWS)
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as unknown),
      ROWS,
    );
    assert.equal(renderList('{{if .Self}}*{{end}}{{.ID}}', COLUMNS, ROWS), '*abc\ndef\n');
    assert.equal(renderList('{{.ID}}', COLUMNS, []), '');
  });

  const cases: Readonly<Record<string, string>> = {
    '{{.Spec.Role}}': 'manager',
    '{{ .Spec.Role | upper }}-{{title "a b"}}': 'MANAGER-A B',
    '{{json .Spec.Labels}}': '{"zone":"b","disk":"ssd"}',
    '{{.Spec.Labels.zone}} {{.Spec.Labels.nothing}}': 'b <no value>',
    '{{index .Spec.Labels "disk"}} {{index .Names 1}}': 'ssd y',
    '{{range $k, $v := .Spec.Labels}}{{$k}}={{$v}} {{end}}': 'disk=ssd zone=b ',
    '{{range .Names}}<{{.}}>{{end}}': '<x><y>',
    '{{range .None}}{{.}}{{else}}none{{end}}': 'none',
    '{{if eq .Spec.Role "worker"}}w{{else if eq .Spec.Role "manager"}}m{{else}}?{{end}}': 'm',
    '{{if and .ID (not .None)}}yes{{end}}': 'yes',
    '{{with .Status}}{{.Addr}} {{$.ID}}{{end}}': '10.0.0.1 abc',
    '{{(index .Names 0)}} {{len .Names}} {{join .Names ","}}': 'x 2 x,y',
    '{{printf "%-5s|%.2s|%d|%q" .ID .ID 7 .ID}}': 'abc  |ab|7|"abc"',
    '  {{- .ID -}}  !': 'abc!',
    '{{.Names}} {{.Status}}': '[x y] map[Addr:10.0.0.1]',
    '{{"a}}b"}}\\t{{`c`}}': 'a}}b\tc',
    '{{/* nothing */}}': '',
  };
  for (const [format, result] of Object.entries(cases))
    it(`fills ${format}`, () => assert.equal(filled(format), result));

  const refused: Readonly<Record<string, RegExp>> = {
    '{{.Nope}}': /there is no field "Nope", expected one of ID, Spec, Status, Names, None/,
    '{{.ID.Deep}}': /what has no fields/,
    '{{frob .ID}}': /the function "frob" is not known/,
    '{{if .ID}}': /"if" has no end/,
    '{{end}}': /"end" without a beginning/,
    '{{.ID': /has no "}}"/,
    '{{}}': /nothing between/,
    '{{.ID | }}': /a command is missing/,
    '{{$x}}': /no variable "\$x"/,
    '{{upper 7}}': /upper: expected a text, there is 7/,
    '{{.ID .ID}}': /as if it were a function/,
    '{{printf "%x" 1}}': /"%x" is not known/,
    '{{(.ID}}': /"\(" without "\)"/,
  };
  for (const [format, reason] of Object.entries(refused)) {
    it(`refuses ${format}`, () => {
      assert.throws(
        () => filled(format),
        (error) => {
          assert.ok(isTsswarmError(error, 'INVALID_INPUT'));
          assert.match(error.message, reason);
          assert.ok(error.message.startsWith('using --format "'));
          return true;
        },
      );
    });
  }
});
