/** Every application module there is. */
import type { ApplicationsFactory } from "../nat/contracts/application.ts";
import { applicationsOf } from "./engine/engine.ts";
import { ftp } from "./ftp.ts";

const MODULES = [ftp];

export const APPLICATION_NAMES: readonly string[] = MODULES.map(({ name }) => name);
export const APPLICATIONS: ApplicationsFactory = applicationsOf(MODULES);
