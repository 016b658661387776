import { type Logger, pino } from "pino";

/** An event and its data: fixed text, no interpolation. */
export interface Log {
  debug(event: string, data?: LogData): void;
  info(event: string, data?: LogData): void;
  warn(event: string, data?: LogData): void;
  error(event: string, data?: LogData): void;
  /** The same log with data that every line carries. */
  child(data: LogData): Log;
}

/** What a line says besides its event. An `Error` under `cause` or `err` is written with its chain of causes. */
export type LogData = Readonly<Record<string, unknown>>;

/** Writes one JSON line an event to standard error. */
export function jsonLog(program: string, level: "debug" | "info" | "warn" | "error" = "info"): Log {
  const logger: Logger = pino(
    {
      level,
      base: { program },
      messageKey: "event",
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    pino.destination({ fd: 2, sync: true }),
  );
  return wrap(logger);
}

/** Says nothing; for tests. */
export const noLog: Log = {
  debug: () => {},
  info: () => {},
  warn: () => {},
  error: () => {},
  child: () => noLog,
};

/** The message of an error and of what caused it, in one line: `a: b: c`. */
export function errorText(cause: unknown): string {
  if (!(cause instanceof Error)) return String(cause);
  const own =
    cause instanceof AggregateError && cause.message === ""
      ? cause.errors.map(errorText).join("; ")
      : cause.message;
  if (cause.cause === undefined || cause.cause === null) return own;
  const inner = errorText(cause.cause);
  return own.includes(inner) ? own : `${own}: ${inner}`;
}

function wrap(logger: Logger): Log {
  const write =
    (level: "debug" | "info" | "warn" | "error") =>
    (event: string, data: LogData = {}) =>
      logger[level](readable(data), event);
  return {
    debug: write("debug"),
    info: write("info"),
    warn: write("warn"),
    error: write("error"),
    child: (data) => wrap(logger.child(readable(data))),
  };
}

function readable(data: LogData): LogData {
  return Object.fromEntries(
    Object.entries(data).map(([key, value]) => [key, value instanceof Error ? errorText(value) : value]),
  );
}
