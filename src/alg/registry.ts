/** Every application module there is. */
import type { ApplicationsFactory } from "../nat/contracts/application.ts";
import { amanda } from "./amanda.ts";
import { cuseeme } from "./cuseeme.ts";
import { diablo } from "./diablo.ts";
import { applicationsOf } from "./engine/engine.ts";
import type { ApplicationModule, Transport } from "./engine/module.ts";
import { ftp } from "./ftp.ts";
import { h245 } from "./h323/h245.ts";
import { h323 } from "./h323/h323.ts";
import { ident } from "./ident.ts";
import { irc } from "./irc.ts";
import { mgcp } from "./mgcp.ts";
import { netbios } from "./netbios.ts";
import { pptp } from "./pptp.ts";
import { TRIGGER_MODULES } from "./presets.ts";
import { quake } from "./quake.ts";
import { realaudio } from "./realaudio.ts";
import { rpc } from "./rpc.ts";
import { rtsp } from "./rtsp.ts";
import { sane } from "./sane.ts";
import { sctp } from "./sctp.ts";
import { sip } from "./sip/sip.ts";
import { skinny } from "./skinny.ts";
import { snmp } from "./snmp.ts";
import { tftp } from "./tftp.ts";
import { tns } from "./tns.ts";
import { vdolive } from "./vdolive.ts";

const MODULES: readonly ApplicationModule[] = [
  amanda,
  cuseeme,
  diablo,
  ftp,
  h245,
  h323,
  ident,
  irc,
  mgcp,
  netbios,
  pptp,
  quake,
  realaudio,
  rpc,
  rtsp,
  sane,
  sctp,
  sip,
  skinny,
  snmp,
  tftp,
  tns,
  vdolive,
  ...TRIGGER_MODULES,
];

export const APPLICATION_NAMES: readonly string[] = MODULES.map(({ name }) => name);
export const APPLICATIONS: ApplicationsFactory = applicationsOf(MODULES);

/** What connections the module of this name is for; undefined: there is none. */
export const transportsOf = (name: string): readonly Transport[] | undefined =>
  MODULES.find((module) => module.name === name)?.transports;
