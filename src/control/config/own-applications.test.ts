/** Application modules of the operator's own in a configuration file: what is read, and what is said about mistakes. */
import { describe, expect, test } from "vitest";
import { UNKNOWN_PROTOCOLS } from "../../alg/presets.ts";
import { parseConfig } from "./config.ts";

const service = (app: string, listen = "tcp://10.0.0.1:7000"): string =>
  `services: [ { listen: "${listen}", app: ${app}, servers: [] } ]\n`;

function applications(text: string) {
  const result = parseConfig(text, "/etc/vsnat");
  if (!result.ok) throw new Error(JSON.stringify(result.issues));
  return result.config.applications;
}

/** "line:column path: found / wanted" */
function mistakes(text: string): string[] {
  const result = parseConfig(text);
  if (result.ok) throw new Error("accepted");
  return result.issues.map(
    ({ line, column, path, found, wanted }) => `${line}:${column} ${path}: ${found} / ${wanted}`,
  );
}

describe("read", () => {
  test("a trigger of one's own, every key", () => {
    const text = `applications:
  webcam:
    transport: [tcp, udp]
    ports: 7000-7010
    opens:
      - { by: server, transport: udp, ports: 6970-7170, from: anyone, lifetime: 10m }
      - { by: client, transport: tcp, ports: same }
${service("webcam")}`;
    expect(applications(text)).toEqual([
      {
        kind: "trigger",
        trigger: {
          name: "webcam",
          transports: ["tcp", "udp"],
          ports: { first: 7000, last: 7010 },
          opens: [
            {
              by: "server",
              transport: "udp",
              ports: { first: 6970, last: 7170 },
              isFromAnyone: true,
              seconds: 600,
            },
            { by: "client", transport: "tcp", ports: "same" },
          ],
        },
      },
    ]);
  });

  test("a module of one's own, from where the file is", () => {
    const text = `applications: { toy: { module: ./toy.ts, transport: tcp, ports: 5000 } }\n${service("toy")}`;
    const module = { kind: "module", name: "toy", transports: ["tcp"], ports: { first: 5000, last: 5000 } };
    expect(applications(text)).toEqual([{ ...module, file: "/etc/vsnat/toy.ts" }]);
  });

  test("a preset on another port", () => {
    const text = `applications: { radio: { preset: realaudio-ports, ports: 8070 } }\n${service("radio")}`;
    expect(applications(text)).toMatchObject([
      {
        trigger: {
          name: "radio",
          transports: ["tcp"],
          ports: { first: 8070, last: 8070 },
          opens: [{ by: "server" }],
        },
      },
    ]);
  });

  test("a protocol of which nobody knows the port, with it", () => {
    const text = `applications: { vxtreme: { transport: tcp, ports: 12468 } }\n${service("vxtreme")}`;
    expect(applications(text)).toMatchObject([
      {
        trigger: {
          name: "vxtreme",
          opens: [
            { by: "server", ports: { first: 1024, last: 65_535 } },
            { by: "client", ports: "same" },
          ],
        },
      },
    ]);
  });

  test.each(["streamworks", "vivoactive", "diablo-ports"])("%s without more words", (name) => {
    expect(applications(service(name))).toEqual([]);
  });

  test("modules of masquerade rules", () => {
    const text = `services: []
applications: { webcam: { transport: tcp, ports: 7000, opens: [ { by: server, transport: udp, ports: 7001 } ] } }
masquerade: [ { from: [10.0.0.0/8], sources: [192.0.2.1], apps: [webcam, ftp] } ]
`;
    const result = parseConfig(text);
    expect(result.ok && result.config.director).toMatchObject({
      masquerade: [{ apps: ["webcam", "ftp"] }],
      applications: [{ name: "webcam", transports: ["tcp"] }],
    });
  });
});

describe("protocols of which only the name is known say what is unknown, and what to add:", () => {
  test.each([
    [
      "vxtreme",
      "applications: { vxtreme: { transport: tcp, ports: PORT } } as well; not known of VXtreme Web Theater: its control port (12468 circulates, unconfirmed)",
    ],
    [
      "vosaic",
      "applications: { vosaic: { transport: tcp, ports: PORT } } as well; not known of Vosaic's video protocol VDP: its control port",
    ],
    [
      "truespeech",
      "applications: { truespeech: { transport: tcp, ports: PORT } } as well; not known of DSP Group's TrueSpeech: whether it needs anything but HTTP, and its control port",
    ],
    [
      "audiolink",
      "applications: { audiolink: { transport: tcp, ports: PORT, opens: [...] } } as well; not known of NTT AudioLink: its control port and what follows on it",
    ],
    [
      "softwarevision",
      "applications: { softwarevision: { transport: tcp, ports: PORT, opens: [...] } } as well; not known of NTT SoftwareVision: its control port and what follows on it",
    ],
    [
      "midplug",
      "applications: { midplug: { transport: tcp, ports: PORT, opens: [...] } } as well; not known of Yamaha MIDPlug: whether it needs anything but HTTP, its control port and what follows on it",
    ],
    [
      "ichat-pager",
      "applications: { ichat-pager: { transport: tcp, ports: PORT, opens: [...] } } as well; not known of ichat's Pager: its control port and what follows on it",
    ],
  ])("%s", (name, wanted) => {
    expect(mistakes(service(name))).toEqual([`1:51 services[0].app: "${name}" / ${wanted}`]);
    const rule = `services: []\nmasquerade: [ { from: [10.0.0.0/8], sources: [192.0.2.1], apps: [${name}] } ]\n`;
    expect(mistakes(rule)).toEqual([`2:66 masquerade[0].apps[0]: "${name}" / ${wanted}`]);
  });

  test("are these and no others", () => {
    expect(Object.keys(UNKNOWN_PROTOCOLS)).toEqual([
      "vxtreme", "vosaic", "truespeech", "audiolink", "softwarevision", "midplug", "ichat-pager",
    ]); // biome-ignore format: a list
  });
});

describe("mistakes", () => {
  const OPENS = "opens: [ { by: server, transport: udp, ports: 7001 } ]";
  test.each([
    [
      "a built-in name",
      `ftp: { transport: tcp, ports: 21, ${OPENS} }`,
      "2:3 applications.ftp: ftp / another name: this module is built in",
    ],
    [
      "a preset's own name",
      "streamworks: { preset: streamworks, ports: 1559 }",
      "2:3 applications.streamworks: streamworks / another name: this module is built in",
    ],
    [
      "no name",
      `My Own: { transport: tcp, ports: 21, ${OPENS} }`,
      '2:3 applications.My Own: the name "My Own" / a name of 1 to 15 small letters, digits and -',
    ],
    [
      "a trigger that opens nothing",
      "cam: { transport: tcp, ports: 7000 }",
      "2:3 applications.cam: no opens / transport, ports, opens, or a preset",
    ],
    [
      "an empty one",
      "cam: {}",
      "2:3 applications.cam: no transport, no ports, no opens / transport, ports, opens, or a preset",
    ],
    [
      "a module without a transport",
      "cam: { module: ./cam.ts, ports: 7000 }",
      "2:3 applications.cam: no transport / transport, ports",
    ],
    [
      "a module that is none",
      "cam: { module: ./cam.py, transport: tcp, ports: 7000 }",
      '2:18 applications.cam.module: "./cam.py" / the path of a JavaScript or TypeScript module, as in ./mine.ts',
    ],
    [
      "a module and what it opens",
      `cam: { module: ./cam.ts, transport: tcp, ports: 7000, ${OPENS} }`,
      "2:57 applications.cam.opens: opens and a module / one of the two: a module announces by itself",
    ],
    ["an unknown preset", "cam: { preset: vxtrem, ports: 7000, transport: tcp }", "(did you mean vxtreme?)"],
    [
      "a name only half said",
      "vosaic: { transport: tcp }",
      "2:3 applications.vosaic: no ports / ports as well; not known of Vosaic's video protocol VDP: its control port",
    ],
    [
      "a name of which more is unknown",
      "audiolink: { transport: tcp, ports: 7000 }",
      "2:3 applications.audiolink: no opens / opens as well; not known of NTT AudioLink: its control port and what follows on it",
    ],
    [
      "too many control ports",
      `cam: { transport: tcp, ports: 1-65535, ${OPENS} }`,
      '2:33 applications.cam.ports: "1-65535" / at most 1024 ports',
    ],
    [
      "a lifetime too long",
      "cam: { transport: tcp, ports: 7000, opens: [ { by: server, transport: udp, ports: 7001, lifetime: 2d } ] }",
      '"2d" / at most 1 day',
    ],
    ["a transport that cannot have one", `cam: { transport: sctp, ports: 7000, ${OPENS} }`, '"sctp" / '],
    [
      "somebody who opens nothing",
      "cam: { transport: tcp, ports: 7000, opens: [ { by: anyone, transport: udp, ports: 7001 } ] }",
      '"anyone" / one of server, client',
    ],
  ])("%s", (_, definition, wanted) => {
    const found = mistakes(`applications:\n  ${definition}\nservices: []\n`);
    expect(found).toHaveLength(1);
    expect(found[0]).toContain(wanted);
  });

  test("a service of another transport", () => {
    const text = `applications: { cam: { transport: tcp, ports: 7000, ${OPENS} } }\n${service("cam", "udp://10.0.0.1:7000")}`;
    expect(mistakes(text)).toEqual(["2:51 services[0].app: a udp service / a tcp service, or no app"]);
    expect(mistakes(service("quake"))).toEqual([
      "1:51 services[0].app: a tcp service / a udp service, or no app",
    ]);
  });

  test("a name that nobody has", () => {
    const text = `applications: { webcam: { transport: tcp, ports: 7000, ${OPENS} } }\n${service("webcan")}`;
    expect(mistakes(text)[0]).toMatch(/^2:51 services\[0\]\.app: "webcan" \/ .*\(did you mean webcam\?\)$/);
  });
});
