/** Every application module there is. */
import type { ApplicationsFactory } from "../nat/contracts/application.ts";
import { amanda } from "./amanda.ts";
import { applicationsOf } from "./engine/engine.ts";
import type { ApplicationModule, Transport } from "./engine/module.ts";
import { ftp } from "./ftp.ts";
import { ident } from "./ident.ts";
import { irc } from "./irc.ts";
import { mgcp } from "./mgcp.ts";
import { pptp } from "./pptp.ts";
import { rpc } from "./rpc.ts";
import { rtsp } from "./rtsp.ts";
import { sane } from "./sane.ts";
import { sctp } from "./sctp.ts";
import { sip } from "./sip/sip.ts";
import { skinny } from "./skinny.ts";
import { tftp } from "./tftp.ts";
import { tns } from "./tns.ts";

const MODULES: readonly ApplicationModule[] = [
  amanda,
  ftp,
  ident,
  irc,
  mgcp,
  pptp,
  rpc,
  rtsp,
  sane,
  sctp,
  sip,
  skinny,
  tftp,
  tns,
];

export const APPLICATION_NAMES: readonly string[] = MODULES.map(({ name }) => name);
export const APPLICATIONS: ApplicationsFactory = applicationsOf(MODULES);

/** What connections the module of this name is for; undefined: there is none. */
export const transportsOf = (name: string): readonly Transport[] | undefined =>
  MODULES.find((module) => module.name === name)?.transports;
