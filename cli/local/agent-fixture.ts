import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import type { Test } from "tap";
import { systemClock } from "#lib/clock.ts";
import { FakeRuntime } from "../../agent/runtime/fake.ts";
import { runCommand } from "../main.ts";

/** How a command ended and what it wrote. */
export interface Said {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** A place for an agent and its socket, with static Pods. */
export interface AgentPlace {
  readonly folder: string;
  readonly runtime: FakeRuntime;
  readonly socket: string;
  /** For the agent. */
  readonly more: readonly string[];
}

/** Runs one command line as a person would. */
export async function keelson(...words: readonly string[]): Promise<Said> {
  let out = "";
  let err = "";
  const io = {
    program: "keelson",
    env: {},
    out: (text: string): void => void (out += text),
    err: (text: string): void => void (err += text),
  };
  const code = await runCommand(words, io, AbortSignal.timeout(20_000));
  return { code, out, err };
}

/** @param pods the text below `spec:` by the Pod's name; the image `busybox` is there. */
export async function agentPlace(t: Test, pods: Readonly<Record<string, string>>): Promise<AgentPlace> {
  const folder = await mkdtemp(path.join(os.tmpdir(), "local-"));
  // A pull that an agent leaves behind may still write down its end.
  t.teardown(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }));
  const runtime = new FakeRuntime(systemClock);
  runtime.addImage("busybox", { entrypoint: ["sleep", "1000"] });
  await mkdir(path.join(folder, "manifests"), { recursive: true });
  for (const [name, spec] of Object.entries(pods))
    await writeFile(
      path.join(folder, `manifests/${name}.yaml`),
      `apiVersion: v1\nkind: Pod\nmetadata: {name: ${name}}\nspec:\n${spec}\n`,
    );
  const socket = path.join(folder, "agent.sock");
  return { folder, runtime, socket, more: [`--control-socket=${socket}`] };
}
