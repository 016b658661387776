/** What a command may use of the world around it. */
export interface CommandIo {
  /** The launcher that started us: what background services run. */
  readonly program: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Writes to standard output as it stands. */
  out(text: string): void;
  /** Writes to standard error as it stands. */
  err(text: string): void;
}

/** One word after `keelson`. */
export interface Command {
  readonly name: string;
  /** One line for `keelson --help`. */
  readonly summary: string;
  /** The whole `--help` text. */
  help(): string;
  /**
   * @returns the exit code: 0 ok, 1 failed. A `UsageError` becomes 2.
   * @param signal aborted on SIGTERM and SIGINT: a service ends in order, a one-shot command gives up.
   */
  run(args: readonly string[], io: CommandIo, signal: AbortSignal): Promise<number>;
}

/** Not shown in the overview: called by our own parts, not typed by people. */
export interface InternalCommand extends Command {
  readonly internal: true;
}
