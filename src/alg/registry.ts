/** Every application module there is. */
import type { ApplicationsFactory } from "../nat/contracts/application.ts";
import { applicationsOf } from "./engine.ts";
import { ftp } from "./ftp.ts";

export const APPLICATIONS: ApplicationsFactory = applicationsOf([ftp]);
