import t from "tap";
import { FakeClock } from "#lib/clock.ts";
import { noLog } from "#lib/log.ts";
import { NotesWhenReached } from "./notes-when-reached.ts";

const info = { nodeId: "n1", maxVolumes: 0, topology: {} };

function set() {
  const clock = new FakeClock();
  const stop = new AbortController();
  const reached = Promise.withResolvers<void>();
  const state = { away: false, fails: 0 };
  const noted: string[] = [];
  const write = async (line: string): Promise<void> => {
    if (state.fails > 0 || state.away) {
      state.fails -= 1;
      throw new Error("refused");
    }
    noted.push(line);
  };
  const notes = new NotesWhenReached({
    notes: {
      install: (driver) => write(`+${driver}`),
      uninstall: (driver) => write(`-${driver}`),
    },
    away: () => state.away,
    reached: () => reached.promise,
    clock,
    log: noLog,
    signal: stop.signal,
  });
  const back = async (): Promise<void> => {
    state.away = false;
    reached.resolve();
    await clock.advance(0);
  };
  return { clock, stop, state, noted, notes, back, signal: AbortSignal.timeout(5_000) };
}

t.test("ML8: with no API in reach a CSI driver is taken, and noted when it is back", async (t) => {
  const { state, noted, notes, back, signal } = set();
  state.away = true;
  await notes.install("a", info, signal);
  await notes.install("b", info, signal);
  t.same(noted, []);
  await back();
  t.same(noted, ["+a", "+b"]);
});

t.test("ML8: a driver that went meanwhile is noted as gone, and only once", async (t) => {
  const { state, noted, notes, back, signal } = set();
  state.away = true;
  await notes.install("a", info, signal);
  await notes.uninstall("a", signal);
  await back();
  t.same(noted, ["-a"]);
});

t.test("ML8: what the API refuses when it is reached is tried again", async (t) => {
  const { clock, state, noted, notes, back, signal } = set();
  state.away = true;
  await notes.install("a", info, signal);
  state.fails = 2;
  await back();
  t.same(noted, []);
  await clock.advance(1_000);
  t.same(noted, []);
  await clock.advance(2_000);
  t.same(noted, ["+a"]);
});

t.test("an API that is there and refuses a driver is believed", async (t) => {
  const { state, noted, notes, signal } = set();
  await notes.install("a", info, signal);
  t.same(noted, ["+a"]);
  state.fails = 1;
  await t.rejects(notes.install("b", info, signal), /refused/);
});
