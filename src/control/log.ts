/**
 * The daemon's log, on standard error: lines for people, or JSON lines for collectors. Own and small, because a daemon
 * that says a dozen things a day needs no logging framework.
 */
export type LogLevel = "info" | "warning" | "error";
export type LogFormat = "text" | "json";
export type Log = (level: LogLevel, message: string, fields?: Readonly<Record<string, unknown>>) => void;

/** syslog levels in the form that systemd takes from standard error (sd-daemon(3)). */
const SYSTEMD_PREFIX: Readonly<Record<LogLevel, string>> = { info: "<6>", warning: "<4>", error: "<3>" };

export function createLog(format: LogFormat): Log {
  const isJournal = process.env.JOURNAL_STREAM !== undefined && !process.stderr.isTTY;
  return (level, message, fields = {}) => {
    if (format === "json") {
      const time = new Date().toISOString();
      process.stderr.write(`${JSON.stringify({ time, level, message, ...fields })}\n`);
      return;
    }
    const label = level === "info" ? "" : `${level}: `;
    const prefix = isJournal ? SYSTEMD_PREFIX[level] : "";
    for (const line of `vsnat: ${label}${message}`.split("\n")) process.stderr.write(`${prefix}${line}\n`);
  };
}
