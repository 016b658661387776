import { once } from "node:events";
import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { createServer, request } from "node:http";
import { tmpdir } from "node:os";
import path from "node:path";
import t from "tap";
import { run } from "../../test/support/run-command.ts";
import { HttpError } from "./http-error.ts";
import { writeHostLog } from "./host-logs.ts";

t.test(
  "agent §2.1: files of /var/log are served, and nothing that a link or a path leads to outside",
  async (t) => {
    const folder = await mkdtemp(path.join(tmpdir(), "keelson-host-logs-"));
    t.teardown(() => rm(folder, { recursive: true }));
    const root = path.join(folder, "log");
    await mkdir(path.join(root, "pods"), { recursive: true });
    await mkdir(path.join(folder, "logs-of-others"));
    await writeFile(path.join(folder, "secret"), "secret");
    await writeFile(path.join(folder, "logs-of-others/x"), "secret");
    await writeFile(path.join(root, "sys<log>"), "line\n");
    await writeFile(path.join(root, "empty"), "");
    await writeFile(path.join(root, "pods/a.log"), "a".repeat(300_000));
    await symlink(path.join(root, "pods/a.log"), path.join(root, "inside"));
    await symlink("../secret", path.join(root, "outside"));
    await symlink(folder, path.join(root, "up"));
    await run("mkfifo", path.join(root, "pipe"));
    const server = createServer((request, response) => {
      writeHostLog(root, request.url ?? "", request, response).catch((cause: unknown) => {
        response.writeHead(cause instanceof HttpError ? cause.status : 500);
        response.end(String(cause));
      });
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const address = server.address();
    const port = typeof address === "object" && address !== null ? address.port : 0;
    // `fetch` would take the dots out of a path itself.
    const get = async (route: string, method = "GET"): Promise<readonly [number, string]> => {
      const sent = request({ host: "127.0.0.1", port, path: route, method, agent: false }).end();
      const [response] = (await once(sent, "response")) as [import("node:http").IncomingMessage];
      let text = "";
      for await (const chunk of response) text += String(chunk);
      return [response.statusCode ?? 0, text];
    };
    const names = ["empty", "inside", "outside", "pipe", "pods/", "sys%3Clog%3E", "up"];
    const listed = [...(await get("/logs/"))[1].matchAll(/href="([^"]+)"/g)].map(([, name]) => name);
    t.same(listed, names);
    t.match((await get("/logs/"))[1], /sys&lt;log&gt;/);
    t.same(await get("/logs/sys%3Clog%3E"), [200, "line\n"]);
    t.same(await get("/logs/empty"), [200, ""]);
    t.same(await get("/logs/pods/a.log"), [200, "a".repeat(300_000)]);
    t.same((await get("/logs/inside"))[0], 200, "a link inside");
    t.same(await get("/logs/pods/a.log", "HEAD"), [200, ""]);
    const refused: readonly (readonly [string, number])[] = [
      ["/logs/none", 404],
      ["/logs/outside", 403],
      ["/logs/up/secret", 403],
      ["/logs/../secret", 403],
      ["/logs/%2e%2e%2fsecret", 403],
      ["/logs/..%2flogs-of-others%2fx", 403],
      ["/logs/pipe", 403],
      ["/logs/%00", 400],
      ["/logs/%", 400],
    ];
    for (const [route, status] of refused) {
      const [got, text] = await get(route);
      t.equal(got, status, route);
      t.notMatch(text, /^secret/);
    }
    t.equal((await get("/logs/empty", "DELETE"))[0], 405);
    server.close();
  },
);
