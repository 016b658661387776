import os from "node:os";

/** glibc's first and last signal for programs' own use, as runtimes count them. */
const firstRealTime = 34;
const lastRealTime = 64;

/** A signal's number by its name: `SIGUSR1`, `SIGRTMIN+3`, `SIGRTMAX-1`; undefined for a name that is none. */
export function signalNumber(name: string): number | undefined {
  const realTime = /^SIGRT(MIN|MAX)(?:([+-])(\d+))?$/.exec(name);
  if (realTime === null) return new Map<string, number>(Object.entries(os.constants.signals)).get(name);
  const offset = Number(realTime[3] ?? 0) * (realTime[2] === "-" ? -1 : 1);
  const number = (realTime[1] === "MIN" ? firstRealTime : lastRealTime) + offset;
  return number >= firstRealTime && number <= lastRealTime ? number : undefined;
}
