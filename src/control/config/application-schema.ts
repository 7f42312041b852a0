/** The `app` of a service: a module, or a module with options. */
import * as z from "zod";
import type { ApplicationOptions, PassivePorts } from "../../nat/configuration.ts";
import { parseAddress } from "../../wire/address.ts";
import { applicationName } from "./application-name.ts";
import { recordOf } from "./raw.ts";
import { ports } from "./rule-schema.ts";
import { choice, list, mapping, textLeaf, whole } from "./value.ts";

export const PASSIVE_RANGES_MAX = 64;
export const PROGRAMS_MAX = 64;

const passivePorts = z.union([
  ports("Of every server: one port, or FIRST-LAST.").transform((range): PassivePorts[] => [range]),
  list(
    mapping(
      {
        server: textLeaf({ description: "Address of the server." }, (text) =>
          parseAddress(text) === undefined ? { wanted: "an address" } : { value: text },
        ),
        ports: ports("Its passive ports: FIRST-LAST."),
      },
      "The passive ports of one server.",
    ).transform(({ server, ports: range }): PassivePorts => ({ server, ...range })),
    PASSIVE_RANGES_MAX,
    "Of each server its own.",
    1,
  ),
]);

const program = whole(1, 0x7fff_ffff, "Program number, such as 100003 (nfs).");

/** @param names - of modules that there are */
export const application = (names: readonly string[]) =>
  z.union([
    applicationName(names, "The module that changes the addresses in the payload.").transform(
      (module): ApplicationValue => ({ module }),
    ),
    mapping(
      {
        module: applicationName(names, "The module."),
        passivePorts: passivePorts.exactOptional(),
        programs: list(
          program,
          PROGRAMS_MAX,
          "rpc: programs that clients may find. Default: all.",
          1,
        ).exactOptional(),
        mediaFrom: choice(
          ["peer", "anyone"],
          "sip, rtsp: who may send to announced media ports: the other side of the call or session, or anyone. Default: peer.",
        ).exactOptional(),
        callers: choice(
          ["peer", "anyone"],
          "h323: who may call an endpoint that has registered. Default: peer, its gatekeeper.",
        ).exactOptional(),
      },
      "A module with options.",
    ).transform(({ module, ...options }): ApplicationValue => {
      return Object.keys(options).length === 0 ? { module } : { module, options };
    }),
  ]);

export interface ApplicationValue {
  readonly module: string;
  readonly options?: ApplicationOptions;
}

/** Which module does a service's `app` name, as it stands in the file? */
export function moduleNamed(app: unknown): string | undefined {
  const name = typeof app === "string" ? app : recordOf(app).module;
  return typeof name === "string" ? name : undefined;
}
