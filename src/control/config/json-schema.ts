/** The configuration's shape as JSON Schema 2020-12, for editors and other tools. */
import * as z from "zod";
import { configSchema } from "./config.ts";

/** What `vsnat schema` prints and docs/vsnat.schema.json holds. */
export const configJsonSchema = (): Record<string, unknown> => {
  const { $schema, ...schema } = z.toJSONSchema(configSchema, { io: "input", unrepresentable: "any" });
  return { $schema, title: "vsnat configuration", ...schema };
};
