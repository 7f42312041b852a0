/** Prometheus's text format: what is written reads back as it was, whatever is in it. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { parseExposition } from "../../test/support/exposition.ts";
import { type Family, formatExposition } from "./exposition.ts";

test("families look as the format's description shows them", () => {
  const families: Family[] = [
    {
      ...{ name: "requests_total", type: "counter", help: 'The number of\nrequests, \\ and ".' },
      samples: [
        { labels: { method: "post", code: "200" }, value: 1027 },
        { labels: { path: 'C:\\DIR\n"x"' }, value: 0.5 },
      ],
    },
    { name: "empty", type: "gauge", help: "Nothing.", samples: [] },
    {
      name: "limit",
      type: "gauge",
      help: "None.",
      samples: [{ labels: {}, value: Number.POSITIVE_INFINITY }],
    },
  ];
  expect(formatExposition(families)).toBe(
    [
      '# HELP requests_total The number of\\nrequests, \\\\ and ".',
      "# TYPE requests_total counter",
      'requests_total{method="post",code="200"} 1027',
      'requests_total{path="C:\\\\DIR\\n\\"x\\""} 0.5',
      "# HELP limit None.",
      "# TYPE limit gauge",
      "limit +Inf",
      "",
    ].join("\n"),
  );
});

const name = fc.stringMatching(/^[a-z_][a-z0-9_]{0,20}$/).filter((text) => text !== "__proto__");
/** Without what no text file can carry: half of a character. */
const text = fc.string({ unit: "grapheme" });
const sample = fc.record({
  labels: fc.dictionary(name, text, { noNullPrototype: true }),
  value: fc.oneof(
    fc.nat(),
    fc.double({ noNaN: false }).map((one) => one + 0),
  ), // no -0: it is 0
});
const family: fc.Arbitrary<Family> = fc.record({
  name,
  type: fc.constantFrom("counter", "gauge"),
  help: text.filter((one) => one.trim() !== ""),
  samples: fc.uniqueArray(sample, {
    minLength: 1,
    selector: ({ labels }) => JSON.stringify(Object.entries(labels).sort()),
  }),
});

test("whatever is written reads back as it was", () => {
  fc.assert(
    fc.property(fc.uniqueArray(family, { selector: (one) => one.name }), (families) => {
      expect(parseExposition(formatExposition(families))).toEqual(families);
    }),
  );
});

test.each([
  ["a\n", "not understood"],
  ["# HELP a b\n", "no type"],
  ["# HELP a b\n# TYPE a gauge\na 1\na 1\n", "twice"],
  ["# HELP a b\n# TYPE a gauge\nb 1\n", "not understood"],
  ['# HELP a b\n# TYPE a gauge\na{x="\\y"} 1\n', "labels"],
  ["# HELP a b\n# TYPE a gauge\na 0x1\n", "not understood"],
  ["# HELP a b\n# TYPE a gauge\na 1", "no end"],
])("the reader is not taken in by %j", (text, why) => {
  expect(() => parseExposition(text)).toThrow(why);
});
