import { spawn } from "node:child_process";
import { writeFile } from "node:fs/promises";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { BuiltImage } from "../../agent/runtime/image-tar.ts";
import { endProcess } from "./containerd.ts";

/** A registry of a test's own, on the loopback of a network namespace: plain HTTP, which runtimes allow there. */
export interface TestRegistry extends AsyncDisposable {
  /** `127.0.0.1:5000` */
  readonly host: string;
  readonly username: string;
  readonly password: string;
  /** Puts an image into it. @returns its name, `127.0.0.1:5000/app:1`. The caller's thread has to be in the namespace. */
  push(repository: string, tag: string, image: BuiltImage, signal: AbortSignal): Promise<string>;
}

const username = "keelson";
const password = "secret";
// bcrypt of the password, the only hash that the registry takes: perl -e 'print crypt("secret", ...)'.
const passwordHash = "$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW";
const manifestType = "application/vnd.oci.image.manifest.v1+json";

/** Starts Debian's docker-registry; it ends, with what it holds, on disposal of the runtime's directory. */
export async function testRegistry(
  at: { readonly netns: string; readonly directory: string },
  options: { readonly port: number; readonly withPassword: boolean },
): Promise<TestRegistry> {
  const host = `127.0.0.1:${options.port}`;
  const folder = path.join(at.directory, `registry-${options.port}`);
  const config = `${folder}.json`;
  await writeFile(`${folder}.htpasswd`, `${username}:${passwordHash}\n`);
  await writeFile(
    config,
    JSON.stringify({
      version: "0.1",
      log: { level: "warn" },
      storage: { filesystem: { rootdirectory: folder } },
      http: { addr: host, secret: "test" },
      ...(options.withPassword ? { auth: { htpasswd: { realm: "test", path: `${folder}.htpasswd` } } } : {}),
    }),
  );
  const server = spawn("nsenter", [`--net=/run/netns/${at.netns}`, "docker-registry", "serve", config], {
    stdio: "ignore",
    env: { PATH: process.env["PATH"] ?? "/usr/bin" },
  });
  const headers = {
    Authorization: `Basic ${Buffer.from(`${username}:${password}`).toString("base64")}`,
  };
  const stop = (): Promise<void> => endProcess(server);
  try {
    await answers(`http://${host}/v2/`, headers);
  } catch (cause) {
    await stop();
    throw cause;
  }
  const send = async (method: string, url: string, body: Buffer, type: string, signal: AbortSignal) => {
    const answer = await fetch(url, {
      method,
      signal,
      headers: { ...headers, "Content-Type": type, Connection: "close" },
      ...(method === "POST" ? {} : { body: new Uint8Array(body) }),
    });
    if (!answer.ok) throw new Error(`cannot ${method} ${url}: ${answer.status} ${await answer.text()}`);
    await answer.arrayBuffer();
    return answer.headers.get("location") ?? "";
  };
  const blob = async (repository: string, digest: string, bytes: Buffer, signal: AbortSignal) => {
    const begin = `http://${host}/v2/${repository}/blobs/uploads/`;
    const place = new URL(await send("POST", begin, bytes, "application/octet-stream", signal), begin);
    place.searchParams.set("digest", digest);
    await send("PUT", place.href, bytes, "application/octet-stream", signal);
  };
  return {
    host,
    username,
    password,
    push: async (repository, tag, image, signal) => {
      await blob(repository, image.layerDigest, image.layer, signal);
      await blob(repository, image.configDigest, image.config, signal);
      const place = `http://${host}/v2/${repository}/manifests/${tag}`;
      await send("PUT", place, image.manifest, manifestType, signal);
      return `${host}/${repository}:${tag}`;
    },
    [Symbol.asyncDispose]: stop,
  };
}

async function answers(url: string, headers: Readonly<Record<string, string>>): Promise<void> {
  for (let tries = 0; tries < 100; tries += 1) {
    const status = await fetch(url, { headers: { ...headers, Connection: "close" } }).then(
      async (answer) => {
        await answer.arrayBuffer();
        return answer.status;
      },
      () => 0,
    );
    if (status === 200) return;
    await delay(50);
  }
  throw new Error(`the registry does not answer at ${url}`);
}
