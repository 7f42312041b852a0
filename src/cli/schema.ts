/** `vsnat schema`: the JSON Schema of the configuration file, for editors. */
import { Command } from "commander";
import { configJsonSchema } from "../control/config/json-schema.ts";
import { printJson } from "./terminal.ts";

export const command = (): Command =>
  new Command("schema")
    .summary("print the JSON Schema of the configuration file")
    .description(
      "Print the JSON Schema of the configuration file, which editors use to complete and check it.",
    )
    .addHelpText(
      "after",
      "\nExample:\n  vsnat schema > vsnat.schema.json\n" +
        "  # then, as first line of vsnat.yaml:\n  # yaml-language-server: $schema=./vsnat.schema.json",
    )
    .action(() => printJson(configJsonSchema()));
