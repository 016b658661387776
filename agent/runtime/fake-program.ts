import { PassThrough } from "node:stream";

/** A program inside the fake runtime: its streams, and how it is told to end. */
export interface FakeProcess {
  readonly stdin: PassThrough;
  readonly stdout: PassThrough;
  readonly stderr: PassThrough;
  readonly exit: Promise<number>;
  /** TERM is ignored by a program without a handler, as for any PID 1; KILL ends it with 137. */
  signal(name: string): void;
  /** Ends it from outside, as a script of the test. */
  end(code: number): void;
  /** Ports it listens on; what is sent comes back. */
  readonly echoPorts: readonly number[];
  /** What it has written to files of its root filesystem. */
  readonly writtenBytes: () => number;
}

/**
 * Runs the few commands that tests use, as busybox would: `sh -c` with `;` between `echo`, `sleep`, `exit`, `cat`,
 * `true`, `false`, `ps`, `trap "exit N" TERM`, `>&2`, `$NAME` and an echo server (`nc -ll -p PORT -e /bin/cat`).
 * An unknown program ends with 127, as in a shell.
 * @param after calls back after that many milliseconds and returns how to cancel it (a clock's).
 */
export function startFakeProgram(
  argv: readonly string[],
  env: Readonly<Record<string, string>>,
  after: (ms: number, callback: () => void) => () => void,
): FakeProcess {
  const stdin = new PassThrough();
  const stdout = new PassThrough();
  const stderr = new PassThrough();
  const { promise: exit, resolve } = Promise.withResolvers<number>();
  const echoPorts: number[] = [];
  let writtenBytes = 0;
  let cancelTimer = (): void => {};
  /** What `trap` set: signal -> exit code. */
  const traps = new Map<string, number>();
  let ended = false;

  const end = (code: number): void => {
    if (ended) return;
    ended = true;
    cancelTimer();
    stdout.end();
    stderr.end();
    resolve(code);
  };
  const run = (commands: readonly string[], last: number): void => {
    if (ended) return;
    const [command, ...rest] = commands;
    if (command === undefined) return end(last);
    const toStderr = command.includes(">&2");
    const text = command
      .replace(/\s*(1?>&2)\s*/, "")
      .replace(/\$(\w+)/g, (_, name: string) => env[name] ?? "");
    const trap = /^trap ["']?exit (\d+)["']? (\w+)$/.exec(text);
    if (trap !== null) {
      traps.set(trap[2] ?? "", Number(trap[1]));
      return run(rest, 0);
    }
    const [program = "", ...args] = text.split(/\s+/);
    switch (program.replace(/^.*\//, "")) {
      case "echo":
        (toStderr ? stderr : stdout).write(`${args.join(" ").replace(/^(["'])(.*)\1$/, "$2")}\n`);
        return run(rest, 0);
      case "exit":
        return end(Number(args[0] ?? last));
      case "true":
        return run(rest, 0);
      case "false":
        return run(rest, 1);
      case "sleep":
        cancelTimer = after(Number(args[0] ?? 0) * 1_000, () => run(rest, 0));
        return undefined;
      case "ps":
        stdout.write("PID   USER     TIME  COMMAND\n");
        return run(rest, 0);
      case "cat":
        stdin.on("data", (chunk: Buffer) => stdout.write(chunk));
        stdin.on("end", () => run(rest, 0));
        return undefined;
      case "while": // `while :; do ...; done`: until it is ended
        return undefined;
      case "dd": // of whole mebibytes
        writtenBytes += Number(/count=(\d+)/.exec(text)?.[1] ?? 0) * 1_024 * 1_024;
        return run(rest, 0);
      case "nc":
        echoPorts.push(Number(/-p (\d+)/.exec(text)?.[1] ?? 0));
        return undefined;
      default:
        stderr.write(`sh: ${program}: not found\n`);
        return run(rest, 127);
    }
  };
  const script = /(^|\/)sh$/.test(argv[0] ?? "") && argv[1] === "-c" ? (argv[2] ?? "") : argv.join(" ");
  // The start itself is seen before anything the program does.
  cancelTimer = after(0, () => run(commandsOf(script), 0));
  return {
    stdin,
    stdout,
    stderr,
    exit,
    echoPorts,
    writtenBytes: () => writtenBytes,
    end,
    signal: (name) => {
      if (name === "KILL") end(137);
      else if (traps.has(name)) end(traps.get(name) ?? 0);
    },
  };
}

function commandsOf(script: string): string[] {
  return script
    .replace(/while :;.*done/, "while")
    .split(";")
    .map((command) => command.trim())
    .filter((command) => command !== "");
}
