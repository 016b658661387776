import { constants } from "node:fs";
import { open, readdir, readlink, realpath, stat } from "node:fs/promises";
import type { IncomingMessage, ServerResponse } from "node:http";
import path from "node:path";
import { pipeline } from "node:stream/promises";
import { isMissing } from "#lib/read-if-there.ts";
import { HttpError } from "./http-error.ts";

/**
 * Answers `/logs/PATH` with a file below `/var/log`, or the names in a directory, as kubelet does. A link that leads
 * out of there is refused, where kubelet follows it: a Pod that may write below /var/log could read every file of the
 * machine that way.
 * @param root `/var/log`.
 * @throws {HttpError} 403, 404, and 405 for anything but GET and HEAD.
 */
export async function writeHostLog(
  root: string,
  pathname: string,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  if (request.method !== "GET" && request.method !== "HEAD") throw new HttpError(405, "method not allowed");
  const top = await realpath(root);
  const file = await placeOf(top, pathname.replace(/^\/logs\/?/, ""));
  const { isDirectory, isFile, size } = await kindOf(file);
  if (isDirectory) {
    const names = (await readdir(file, { withFileTypes: true }))
      .map((entry) => (entry.isDirectory() ? `${entry.name}/` : entry.name))
      .toSorted();
    const lines = names.map((name) => `<a href="${encodeURI(name)}">${escaped(name)}</a>\n`);
    response.writeHead(200, { "content-type": "text/html; charset=utf-8" });
    response.end(request.method === "HEAD" ? undefined : `<pre>\n${lines.join("")}</pre>\n`);
    return;
  }
  if (!isFile) throw new HttpError(403, "only files and directories are served"); // a pipe would never end
  await using handle = await open(file, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  // A directory on the way may have become a link since it was looked at: what was opened is what counts.
  if (!(await readlink(`/proc/self/fd/${handle.fd}`)).startsWith(`${top}/`)) throw outside(pathname);
  response.writeHead(200, { "content-type": "text/plain; charset=utf-8", "content-length": size });
  if (request.method === "HEAD" || size === 0) response.end();
  else await pipeline(handle.createReadStream({ autoClose: false, start: 0, end: size - 1 }), response);
}

async function placeOf(top: string, encoded: string): Promise<string> {
  let name = "";
  try {
    name = decodeURIComponent(encoded);
  } catch (cause) {
    throw new HttpError(400, "cannot read the path", { cause });
  }
  if (name.includes("\0")) throw new HttpError(400, "cannot read the path");
  try {
    const place = await realpath(path.join(top, name));
    if (place === top || place.startsWith(`${top}/`)) return place;
  } catch (cause) {
    if (isMissing(cause)) throw new HttpError(404, "404 page not found", { cause });
    throw cause;
  }
  throw outside(name);
}

function outside(name: string): HttpError {
  return new HttpError(403, `${JSON.stringify(name.slice(0, 200))} is outside of the logs`);
}

async function kindOf(
  file: string,
): Promise<{ readonly isDirectory: boolean; readonly isFile: boolean; readonly size: number }> {
  const found = await stat(file);
  return { isDirectory: found.isDirectory(), isFile: found.isFile(), size: found.size };
}

function escaped(text: string): string {
  const entities: Readonly<Record<string, string>> = {
    "&": "&amp;",
    "<": "&lt;",
    ">": "&gt;",
    '"': "&#34;",
    "'": "&#39;",
  };
  return text.replace(/[&<>"']/g, (character) => entities[character] ?? character);
}
