/** Names of application modules. */
import { choice } from "./value.ts";

export const APPLICATION_NAME_PATTERN = "^[a-z][a-z0-9-]{0,14}$";

/** @param names - that there are */
export const applicationName = (names: readonly string[], description: string) =>
  choice(names, description, {
    anyOf: [{ enum: names }, { type: "string", pattern: APPLICATION_NAME_PATTERN }],
  });
