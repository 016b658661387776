import t, { type Test } from "tap";
import { readFileSync } from "node:fs";
import path from "node:path";
import { once } from "node:events";
import { setTimeout as delay } from "node:timers/promises";
import { bundle, eventually, type RuntimeName, TestCluster } from "../support/cluster.ts";
import { chooseKubectls, type Kubectl } from "../support/kubectl.ts";
import { root } from "../support/paths.ts";

/** The kubectl versions whose streaming differs: SPDY, WebSocket with SPDY port-forward, WebSocket throughout. */
const streamingVersions = ["1.27", "1.30", "1.33"];

/** The story of the first cluster, on one runtime; each line of it is a test. */
export async function story(runtime: RuntimeName): Promise<void> {
  t.setTimeout(1_800_000);
  await bundle();
  const cluster = await TestCluster.start(runtime);
  t.teardown(async () => {
    if (!t.passing()) t.comment(`logs of every part: ${await cluster.saveLogs()}`);
    await cluster[Symbol.asyncDispose]();
  });
  // STORY=9,11 runs these lines alone.
  const chosen = process.env["STORY"]?.split(",");
  for (const [name, line] of Object.entries(lines)) {
    if (chosen !== undefined && !chosen.includes(name.split(".")[0] ?? "")) continue;
    await t.test(`${runtime}: ${name}`, { timeout: 300_000 }, (t) => line(t, cluster));
  }
}

const lines: Readonly<Record<string, (t: Test, cluster: TestCluster) => Promise<void>>> = {
  "0. make up prints what to do next, and a second up is at once": upTwice,
  "1. a Deployment with everything in it serves from two pods": web,
  "2. logs, exec, attach, port-forward and cp with every kubectl": streams,
  "3. probes take a pod out of its Service and restart its container": probes,
  "4. scale, rolling update, undo, delete with preStop and grace": changes,
  "5. a file in the static pod folder runs and shows as a mirror pod": staticPod,
  "6. a ReplicationController, expose, NodePort, external IP, UDP and TCP": services,
  "7. iptables-save shows upstream's chains; userspace mode serves as well": proxyModes,
  "9. kill -9 of the node process and of the control plane harms nothing": kills,
  "10. delete namespace takes everything in it": deleteNamespace,
  "11. down stops every pod; purge leaves no trace": downAndPurge,
};

async function upTwice(t: Test, cluster: TestCluster): Promise<void> {
  t.match(cluster.upOutput, /export KUBECONFIG=\/etc\/keelson\/admin\.kubeconfig/);
  t.match(cluster.upOutput, /kubectl apply -f examples\/web\.yaml/);
  const startedMs = performance.now();
  const flags = cluster.runtime === "docker" ? ["--runtime", "docker"] : [];
  const again = await cluster.machine.exec([path.join(root, "dist/keelson"), "up", ...flags]);
  t.match(again.stdout, /^already up/);
  t.ok(performance.now() - startedMs < 2_000, "it is at once");
  const other = await cluster.machine.exec(
    [path.join(root, "dist/keelson"), "up", ...flags, "--proxy-mode", "userspace"],
    { mayFail: true },
  );
  t.equal(other.code, 2);
  t.match(other.stderr, /--proxy-mode from "iptables" to "userspace".*keelson down/);
  t.match(await cluster.get("get nodes -o wide"), / Ready .*10\.99\.0\.10/);
  t.match(await cluster.get("get componentstatuses"), /Healthy/);
}

async function web(t: Test, cluster: TestCluster): Promise<void> {
  await cluster.apply(readFileSync(path.join(root, "examples/web.yaml"), "utf8"));
  await cluster.kubectl("rollout status deployment/web --timeout=60s", { timeoutMs: 70_000 });
  const wide = await cluster.get("get pods -l app=web -o wide --no-headers");
  t.equal(wide.split("\n").length, 2);
  for (const line of wide.split("\n")) t.match(line, /2\/2 +Running +0 .* 10\.244\.0\.\d+ /);
  const pod = firstWord(wide);
  const description = await cluster.get(`describe pod ${pod}`);
  const events = ["Scheduled", "Created", "Started"].map((reason) => description.indexOf(` ${reason} `));
  t.ok(
    events.every((at) => at > 0),
    "describe shows the events",
  );
  t.same(
    events,
    events.toSorted((a, b) => a - b),
    "in order",
  );
  const address = await cluster.get("get service web -o jsonpath={.spec.clusterIP}");
  const hosts = await answersOf(() => cluster.sh(`curl -s --max-time 5 http://${address}/`), 20);
  t.equal(hosts.size, 2, "from the host both backends answer");
  t.match([...hosts][0], /^hello from keelson, pod web-/);
  await cluster.kubectl([
    "run",
    "client",
    "--image=keelson.test/echo:1",
    "--restart=Never",
    "--",
    "sleep",
    "3600",
  ]);
  await cluster.kubectl("wait --for=condition=Ready pod/client --timeout=30s");
  const fromPod = await answersOf(
    async () => (await cluster.kubectl(`exec client -- curl -s --max-time 5 http://${address}/`)).stdout,
    20,
  );
  t.equal(fromPod.size, 2, "from a pod both backends answer");
  t.match(
    (await cluster.kubectl("exec client -- curl -s --max-time 5 http://web.default.svc.cluster.local/"))
      .stdout,
    /hello from keelson/,
    "by its DNS name",
  );
  t.match(
    (
      await cluster.kubectl(
        `exec ${pod} -c nginx -- sh -c`
          .split(" ")
          .concat("echo $COLOUR; ls /srv; cat /etc/nginx/conf.d/default.conf"),
      )
    ).stdout,
    /blue\n[\s\S]*time\.txt[\s\S]*listen 80/,
  );
}

async function streams(t: Test, cluster: TestCluster): Promise<void> {
  await cluster.apply(
    podYaml("talker", "trap 'exit 0' TERM; i=0; while true; do i=$((i+1)); echo tick $i; sleep 0.2; done"),
  );
  await cluster.apply(podYaml("crasher", "echo first words; exit 3"));
  await cluster.apply(`${podYaml("reader", "while read line; do echo got $line; done")}    stdin: true\n`);
  await cluster.kubectl("wait --for=condition=Ready pod/talker pod/reader --timeout=30s");
  // Ready so soon that it may not have said enough for what follows.
  await eventually(
    "the talker has said three lines",
    () => cluster.get("logs talker"),
    (text) => text.split("\n").length > 3,
  );
  await eventually(
    "crasher restarted",
    () => cluster.get("get pod crasher -o jsonpath={.status.containerStatuses[0].restartCount}"),
    (count) => Number(count) >= 1,
  );
  const pod = firstWord(await cluster.get("get pods -l app=web --no-headers"));
  const { chosen, missing } = chooseKubectls(streamingVersions);
  for (const version of missing)
    await t.test(`kubectl ${version}`, { skip: `needs kubectl ${version}` }, () => {});
  for (const kubectl of chosen)
    await t.test(`kubectl ${kubectl.version}`, (t) => streamsWith(t, cluster, kubectl, pod));
}

async function streamsWith(t: Test, cluster: TestCluster, kubectl: Kubectl, pod: string): Promise<void> {
  const run = (words: readonly string[], input?: string) =>
    cluster.kubectl(words, {
      kubectl,
      mayFail: true,
      timeoutMs: 30_000,
      ...(input === undefined ? {} : { input }),
    });
  t.match((await run(["logs", "talker", "--tail=3"])).stdout, /^(tick \d+\n){3}$/, "logs --tail");
  const follow = cluster.spawnKubectl(["logs", "-f", "--tail=1", "talker"], kubectl);
  const followed = await linesOf(follow, 4);
  t.equal(new Set(followed).size, 4, "logs -f goes on");
  t.match((await run(["logs", "--previous", "crasher"])).stdout, /first words/, "logs --previous");
  t.equal((await run(["exec", "talker", "--", "sh", "-c", "exit 7"])).code, 7, "exec gives the exit code");
  const both = await run(["exec", "talker", "--", "sh", "-c", "echo out; echo err >&2"]);
  t.same(
    [both.stdout, both.stderr.replace(/command terminated.*\n/, "")],
    ["out\n", "err\n"],
    "exec keeps the two outputs apart",
  );
  t.equal(
    (await run(["exec", "-i", "talker", "--", "wc", "-c"], "x".repeat(300_000))).stdout.trim(),
    "300000",
    "exec -i passes stdin to its end",
  );
  const typed = await cluster.machine.exec(
    ["script", "-qec", `${kubectl.file} exec -it talker -- sh -c "tty; stty size"`, "/dev/null"],
    { env: { KUBECONFIG: "/etc/keelson/admin.kubeconfig", HOME: "/run" }, mayFail: true, timeoutMs: 30_000 },
  );
  t.match(typed.stdout, /\/dev\/pts\/\d+/, "exec -it has a terminal");
  const attach = cluster.spawnKubectl(["attach", "-i", "reader"], kubectl);
  await delay(500);
  attach.stdin?.write("hello\n");
  t.match((await linesOf(attach, 1))[0], /got hello/, "attach talks to the process");
  await cluster.sh("echo payload > /run/from-host");
  await run(["cp", "/run/from-host", "talker:/tmp/copied"]);
  t.equal((await run(["exec", "talker", "--", "cat", "/tmp/copied"])).stdout, "payload\n", "cp to a pod");
  await run(["cp", "talker:/tmp/copied", "/run/back"]);
  t.equal(await cluster.sh("cat /run/back"), "payload\n", "cp from a pod");
  const forward = cluster.spawnKubectl(["port-forward", `pod/${pod}`, "18080:80"], kubectl);
  await linesOf(forward, 1, { keep: true });
  const pages = await Promise.all(
    [1, 2, 3].map(() => cluster.sh("curl -s --max-time 10 http://127.0.0.1:18080/")),
  );
  forward.kill();
  for (const page of pages) t.match(page, /hello from keelson/, "port-forward carries several connections");
  await once(forward, "exit");
}

async function probes(t: Test, cluster: TestCluster): Promise<void> {
  const pod = firstWord(await cluster.get("get pods -l app=web --no-headers"));
  const ready = () =>
    cluster.get(
      "get endpointslices -l kubernetes.io/service-name=web -o jsonpath={.items[*].endpoints[?(@.conditions.ready==true)].targetRef.name}",
    );
  t.equal((await ready()).split(" ").length, 2);
  await cluster.kubectl(["exec", pod, "-c", "nginx", "--", "mv", "/srv/index.html", "/srv/away.html"]);
  const brokenMs = performance.now();
  await eventually("the pod leaves the Service", ready, (names) => !names.split(" ").includes(pod), {
    everyMs: 50,
    timeoutMs: 5_000,
  });
  t.comment(
    `out of the Service ${Math.round(performance.now() - brokenMs)} ms after its page went (probed every 1,000 ms)`,
  );
  const address = await cluster.get("get service web -o jsonpath={.spec.clusterIP}");
  const podAddress = await cluster.get(`get pod ${pod} -o jsonpath={.status.podIP}`);
  await eventually(
    "no rule leads to the pod",
    () => cluster.sh("iptables-save -t nat"),
    (rules) => !rules.includes(`--to-destination ${podAddress}:`),
    { everyMs: 50, timeoutMs: 5_000 },
  );
  const only = await answersOf(() => cluster.sh(`curl -s --max-time 5 http://${address}/`), 12);
  t.equal(only.size, 1, "only the other pod is asked");
  await cluster.kubectl(["exec", pod, "-c", "clock", "--", "mv", "/srv/away.html", "/srv/index.html"]);
  await eventually("the pod comes back", ready, (names) => names.split(" ").includes(pod), { everyMs: 50 });

  await cluster.apply(`${podYaml("sick", "touch /tmp/well; sleep 3600")}    livenessProbe:
      exec: { command: [cat, /tmp/well] }
      periodSeconds: 1
      failureThreshold: 1
`);
  await cluster.kubectl("wait --for=condition=Ready pod/sick --timeout=30s");
  await cluster.kubectl("exec sick -- rm /tmp/well");
  const restarts = () => cluster.get("get pod sick -o jsonpath={.status.containerStatuses[0].restartCount}");
  await eventually("the liveness probe restarts it", restarts, (count) => count === "1", {
    timeoutMs: 60_000,
  });
  t.match(await cluster.get("describe pod sick"), /Unhealthy[\s\S]*Liveness probe failed/);
  await eventually(
    "a crashing container backs off",
    () => cluster.get("get pod crasher -o jsonpath={.status.containerStatuses[0].state.waiting.reason}"),
    (reason) => reason === "CrashLoopBackOff",
  );
  t.ok(
    Number(await cluster.get("get pod crasher -o jsonpath={.status.containerStatuses[0].restartCount}")) >= 1,
    "restarts are counted",
  );
  await cluster.kubectl("delete pod crasher sick --wait=false");
}

async function changes(t: Test, cluster: TestCluster): Promise<void> {
  const images = () => cluster.get("get pods -l app=web -o jsonpath={.items[*].spec.containers[0].image}");
  await cluster.kubectl("scale deployment web --replicas=3");
  await cluster.kubectl("rollout status deployment/web --timeout=60s", { timeoutMs: 70_000 });
  await cluster.kubectl("set image deployment/web nginx=docker.io/library/nginx:1.28");
  await cluster.kubectl("rollout status deployment/web --timeout=90s", { timeoutMs: 100_000 });
  await eventually(
    "every old pod is gone",
    images,
    (text) => text.split(" ").length === 3 && !text.includes("1.27"),
  );
  await cluster.kubectl("rollout undo deployment/web");
  await cluster.kubectl("rollout status deployment/web --timeout=90s", { timeoutMs: 100_000 });
  await eventually(
    "the old image is back",
    images,
    (text) => text.split(" ").length === 3 && !text.includes("1.28"),
  );
  await cluster.kubectl("scale deployment web --replicas=2");
  await eventually("two are left", images, (text) => text.split(" ").length === 2);

  const pod = firstWord(await cluster.get("get pods -l app=web --no-headers"));
  await cluster.kubectl(`delete pod ${pod} --wait=false`);
  await eventually(
    "it is replaced",
    () => cluster.get("get pods -l app=web --no-headers"),
    (text) => !text.includes(pod) && (text.match(/ 2\/2 +Running/g)?.length ?? 0) === 2,
  );

  await cluster.sh("mkdir -p /var/lib/keelson/hooks");
  await cluster.apply(`${podYaml("polite", "trap 'echo term >> /hooks/said; sleep 1; exit 0' TERM; while true; do sleep 0.1; done")}    lifecycle:
      preStop: { exec: { command: [sh, -c, "echo prestop >> /hooks/said"] } }
    volumeMounts: [{ name: hooks, mountPath: /hooks }]
  volumes: [{ name: hooks, hostPath: { path: /var/lib/keelson/hooks } }]
  terminationGracePeriodSeconds: 10
`);
  await cluster.kubectl("wait --for=condition=Ready pod/polite --timeout=30s");
  const startedMs = performance.now();
  await cluster.kubectl("delete pod polite", { timeoutMs: 30_000 });
  const tookMs = performance.now() - startedMs;
  t.equal(await cluster.sh("cat /var/lib/keelson/hooks/said"), "prestop\nterm\n", "preStop runs before TERM");
  t.ok(
    tookMs > 1_000 && tookMs < 9_000,
    `the grace period is kept, not waited out (${Math.round(tookMs)} ms)`,
  );
}

async function staticPod(t: Test, cluster: TestCluster): Promise<void> {
  const manifest = podYaml("standing", "sleep 3600");
  await cluster.sh(`cat > /etc/keelson/manifests/standing.yaml <<'YAML'\n${manifest}\nYAML`);
  const name = `standing-${await cluster.get("get nodes -o jsonpath={.items[0].metadata.name}")}`;
  await eventually(
    "the mirror pod runs",
    () => cluster.get(`get pod ${name} -o jsonpath={.status.phase}`),
    (phase) => phase === "Running",
  );
  t.match(
    await cluster.get(`get pod ${name} -o jsonpath={.metadata.annotations}`),
    /kubernetes\.io\/config\.mirror/,
  );
  const explain = `${path.join(root, "dist/keelson")} explain pod standing`;
  t.match(await cluster.sh(explain), /From +a static Pod; .*Running, ready since.*Waits for +nothing/s);
  const start = await cluster.sh(`${explain} --timeline`);
  for (const step of ["volumes", "sandbox", "network up", "create", "start", "Ready"])
    t.match(start, new RegExp(`\\|  ${step}\\b`), start);
  await cluster.sh("rm /etc/keelson/manifests/standing.yaml");
  await eventually(
    "it stops",
    () => cluster.kubectl(`get pod ${name}`, { mayFail: true }),
    (ended) => ended.stderr.includes("NotFound"),
    { timeoutMs: 60_000 },
  );
}

async function services(t: Test, cluster: TestCluster): Promise<void> {
  await cluster.apply(`apiVersion: v1
kind: ReplicationController
metadata: { name: echo }
spec:
  replicas: 2
  selector: { app: echo }
  template:
    metadata: { labels: { app: echo } }
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - name: tcp
          image: keelson.test/echo:1
          command: [socat, "TCP4-LISTEN:7000,fork,reuseaddr", "SYSTEM:echo $HOSTNAME"]
        - name: udp
          image: keelson.test/echo:1
          command: [socat, "UDP4-RECVFROM:7000,fork", "SYSTEM:echo $HOSTNAME"]
---
apiVersion: v1
kind: Service
metadata: { name: echo-all }
spec:
  type: NodePort
  selector: { app: echo }
  externalIPs: [12.0.0.5]
  ports:
    - { name: tcp, port: 70, targetPort: 7000, nodePort: 31000 }
    - { name: udp, port: 70, targetPort: 7000, nodePort: 31001, protocol: UDP }
`);
  await cluster.kubectl("expose rc echo --port=71 --target-port=7000 --name=echo-exposed");
  await eventually(
    "both replicas run",
    () => cluster.get("get rc echo -o jsonpath={.status.readyReplicas}"),
    (count) => count === "2",
  );
  await serveEcho(t, cluster);
}

/** Every way to reach the echo pods: two names must answer, over TCP and UDP. */
async function serveEcho(t: Test, cluster: TestCluster): Promise<void> {
  const all = await cluster.get("get service echo-all -o jsonpath={.spec.clusterIP}");
  const exposed = await cluster.get("get service echo-exposed -o jsonpath={.spec.clusterIP}");
  const ways = {
    "cluster IP, TCP": `socat -T3 - TCP4:${all}:70 </dev/null`,
    "cluster IP, UDP": `echo x | socat -T3 -t1 - UDP4:${all}:70`,
    "kubectl expose": `socat -T3 - TCP4:${exposed}:71 </dev/null`,
    "NodePort, TCP": "socat -T3 - TCP4:10.99.0.10:31000 </dev/null",
    "NodePort, UDP": "echo x | socat -T3 -t1 - UDP4:10.99.0.10:31001",
    "external IP, TCP": "socat -T3 - TCP4:12.0.0.5:70 </dev/null",
    "external IP, UDP": "echo x | socat -T3 -t1 - UDP4:12.0.0.5:70",
  };
  for (const [name, command] of Object.entries(ways)) {
    await eventually(
      name,
      () => answersOf(() => cluster.sh(command), 12),
      (names) => [...names].filter((text) => text.startsWith("echo-")).length === 2,
      { timeoutMs: 20_000 },
    );
    t.pass(name);
  }
  const refused = await cluster.machine.exec(["socat", "-T3", "-", "TCP4:10.96.99.99:80,connect-timeout=3"], {
    mayFail: true,
  });
  t.not(refused.code, 0, "an unallocated service address is refused");
}

async function proxyModes(t: Test, cluster: TestCluster): Promise<void> {
  const saved = await cluster.sh("iptables-save");
  for (const chain of [
    "KUBE-SERVICES",
    "KUBE-NODEPORTS",
    "KUBE-POSTROUTING",
    "KUBE-MARK-MASQ",
    "KUBE-FORWARD",
  ])
    t.match(saved, new RegExp(`:${chain} `));
  t.match(
    saved,
    /-A KUBE-SERVICES -d 10\.96\.\d+\.\d+\/32 -p tcp -m comment --comment "default\/web:http cluster IP" -m tcp --dport 80 -j KUBE-SVC-[A-Z0-9]{16}/,
  );
  t.match(saved, /-A KUBE-SEP-[A-Z0-9]{16} .*-j DNAT --to-destination 10\.244\.0\.\d+:80/);
  await restartNodeWith(cluster, "--proxy-mode=userspace");
  await eventually(
    "portals appear",
    () => cluster.sh("iptables-save -t nat"),
    (text) =>
      /-A KUBE-PORTALS-CONTAINER .*-d 10\.96\.|-A KUBE-PORTALS-CONTAINER -d 10\.96\..*REDIRECT --to-ports/.test(
        text,
      ),
  );
  t.notMatch(await cluster.sh("iptables-save -t nat"), /KUBE-SVC-/, "nothing of the other mode is left");
  await serveEcho(t, cluster);
  await restartNodeWith(cluster, "--proxy-mode=iptables");
  await eventually(
    "service chains are back",
    () => cluster.sh("iptables-save -t nat"),
    (text) => text.includes("KUBE-SVC-") && !text.includes("KUBE-PORTALS"),
  );
  await serveEcho(t, cluster);
}

/** Changes the proxy mode in the list the supervisor reads, and lets it start everything again. */
async function restartNodeWith(cluster: TestCluster, flag: string): Promise<void> {
  await cluster.sh(
    `sed -i -E 's/"--proxy-mode=[a-z]+"/"${flag}"/' /etc/keelson/services.json; kill $(cut -d' ' -f1 /run/keelson/supervisor.pid)`,
  );
  await eventually(
    "the supervisor has ended",
    () => cluster.sh("test ! -e /run/keelson/supervisor.pid && echo gone || true"),
    (text) => text.trim() === "gone",
  );
  const program = path.join(root, "dist/keelson");
  await cluster.sh(
    `setsid ${program} supervise --services /etc/keelson/services.json --run-dir /run/keelson --log-dir /var/log/keelson >>/var/log/keelson/supervisor.log 2>&1 </dev/null &`,
  );
  await eventually(
    "the API answers",
    () => cluster.get("get --raw /readyz"),
    (text) => text === "ok",
  );
}

async function kills(t: Test, cluster: TestCluster): Promise<void> {
  const restarts = () =>
    cluster.get(
      "get pods -o jsonpath={range.items[*]}{.metadata.name}:{.status.containerStatuses[*].containerID}:{.status.containerStatuses[*].restartCount};{end}",
    );
  const before = await restarts();
  const address = await cluster.get("get service echo-all -o jsonpath={.spec.clusterIP}");
  await cluster.kubectl([
    "run",
    "stream",
    "--image=keelson.test/echo:1",
    "--",
    "socat",
    "TCP4-LISTEN:9000,fork,reuseaddr",
    "EXEC:cat",
  ]);
  await cluster.kubectl("wait --for=condition=Ready pod/stream --timeout=30s");
  await cluster.kubectl("label pod stream app=stream");
  await cluster.kubectl("expose pod stream --port=9000 --name=stream");
  const stream = await cluster.get("get service stream -o jsonpath={.spec.clusterIP}");
  await eventually(
    "the stream service answers",
    () => cluster.sh(`echo hi | timeout 5 socat -t1 - TCP4:${stream}:9000`),
    (text) => text === "hi\n",
  );
  const open = cluster.machine.spawn(["socat", "-", `TCP4:${stream}:9000`]);
  const echoed: string[] = [];
  open.stdout?.on("data", (chunk: Buffer) => echoed.push(chunk.toString("utf8")));
  open.stdin?.write("before\n");
  await eventually(
    "the connection carries",
    async () => echoed.join(""),
    (text) => text.includes("before"),
  );
  const settled = await restarts();
  await cluster.sh("kill -9 $(cut -d' ' -f1 /run/keelson/node.pid)");
  for (let round = 0; round < 10; round += 1) {
    t.match(await cluster.sh(`socat -T3 - TCP4:${address}:70 </dev/null`), /^echo-/);
    await delay(50);
  }
  open.stdin?.write("after\n");
  await eventually(
    "the open connection still carries",
    async () => echoed.join(""),
    (text) => text.includes("after"),
  );
  await eventually(
    "the node process is back",
    () => cluster.sh("curl -s http://127.0.0.1:10248/healthz"),
    (text) => text === "ok",
  );
  await cluster.kubectl([
    "run",
    "afterwards",
    "--image=docker.io/library/busybox:1.36",
    "--",
    "sleep",
    "3600",
  ]);
  await cluster.kubectl("wait --for=condition=Ready pod/afterwards --timeout=60s", { timeoutMs: 70_000 });
  await cluster.kubectl("delete pod afterwards --grace-period=1");
  t.equal(await restarts(), settled, "no container was restarted");
  t.ok(before.length > 0);
  open.kill();

  const acknowledged: string[] = [];
  const writer = (async () => {
    for (let index = 0; index < 200; index += 1) {
      const name = `kept-${index}`;
      const done = await cluster.machine.exec(
        [
          "curl",
          "-s",
          "-o",
          "/dev/null",
          "-w",
          "%{http_code}",
          "--max-time",
          "2",
          "--cacert",
          "/var/lib/keelson/pki/ca.crt",
          "--cert",
          "/run/admin.crt",
          "--key",
          "/run/admin.key",
          "-X",
          "POST",
          "-H",
          "content-type: application/json",
          "-d",
          JSON.stringify({ apiVersion: "v1", kind: "ConfigMap", metadata: { name } }),
          "https://127.0.0.1:6443/api/v1/namespaces/default/configmaps",
        ],
        { mayFail: true },
      );
      if (done.stdout === "201") acknowledged.push(name);
      else if (acknowledged.length > 0 && index > 20) return;
    }
  })();
  await cluster.sh(
    "grep client-certificate-data /etc/keelson/admin.kubeconfig | sed 's/.*: //' | tr -d '\"' | base64 -d > /run/admin.crt; grep client-key-data /etc/keelson/admin.kubeconfig | sed 's/.*: //' | tr -d '\"' | base64 -d > /run/admin.key",
  );
  await eventually(
    "some writes are acknowledged",
    async () => acknowledged.length,
    (count) => count > 10,
  );
  await cluster.sh("kill -9 $(cut -d' ' -f1 /run/keelson/control.pid)");
  await writer;
  await eventually(
    "the API is back",
    () => cluster.get("get --raw /readyz"),
    (text) => text === "ok",
  );
  const kept = new Set(
    (await cluster.get("get configmaps -o jsonpath={.items[*].metadata.name}")).split(" "),
  );
  t.same(
    acknowledged.filter((name) => !kept.has(name)),
    [],
    `none of ${acknowledged.length} acknowledged writes is lost`,
  );
  t.equal(await restarts(), settled, "no container was restarted");
}

async function deleteNamespace(t: Test, cluster: TestCluster): Promise<void> {
  await cluster.kubectl("create namespace short");
  await cluster.kubectl([
    "-n",
    "short",
    "create",
    "deployment",
    "sleeper",
    "--image=docker.io/library/busybox:1.36",
    "--",
    "sh",
    "-c",
    "trap 'exit 0' TERM; while true; do sleep 0.1; done",
  ]);
  await cluster.kubectl("-n short rollout status deployment/sleeper --timeout=60s", { timeoutMs: 70_000 });
  await cluster.kubectl("-n short create configmap left --from-literal=a=b");
  await cluster.kubectl("delete namespace short --timeout=60s", { timeoutMs: 70_000 });
  t.match((await cluster.kubectl("get namespace short", { mayFail: true })).stderr, /NotFound/);
  t.equal(await cluster.get("get pods -n short --no-headers", { mayFail: true }), "");
}

async function downAndPurge(t: Test, cluster: TestCluster): Promise<void> {
  const program = path.join(root, "dist/keelson");
  await cluster.machine.exec([program, "down"], { timeoutMs: 120_000 });
  t.equal(await podProcesses(cluster), "", "no container process is left");
  await cluster.machine.exec([program, "down", "--purge"], { timeoutMs: 120_000 });
  const saved = await cluster.sh("iptables-save");
  t.notMatch(saved, /KUBE-|CNI-|FLANNEL/, "no rule");
  t.notMatch(await cluster.sh("ip -br link"), /cni0|flannel|veth[0-9a-f]/, "no device");
  t.notMatch(
    await cluster.sh("mount"),
    /\/var\/lib\/kubelet\/pods|\/run\/keelson|\/var\/lib\/keelson\//,
    "no mount",
  );
  t.equal(
    (await cluster.sh("find /sys/fs/cgroup -maxdepth 2 -name 'kubepods*' 2>/dev/null || true")).trim(),
    "",
    "no cgroup",
  );
  t.equal(
    (
      await cluster.sh(
        "ls -A /etc/keelson /var/lib/keelson /var/log/keelson /run/keelson /var/lib/kubelet /var/log/pods /var/log/containers /etc/cni/net.d /opt/cni/bin 2>/dev/null | grep -v : | grep -v dockerd.log || true",
      )
    ).trim(),
    "",
    "no file",
  );
}

async function podProcesses(cluster: TestCluster): Promise<string> {
  return (
    await cluster.sh(
      "ps axo pid,args | grep -E 'containerd-shim|[n]ginx|sleep 3600|socat' | grep -v 'grep\\|defunct' || true",
    )
  ).trim();
}

function podYaml(name: string, script: string): string {
  return `apiVersion: v1
kind: Pod
metadata: { name: ${name} }
spec:
  terminationGracePeriodSeconds: 2
  containers:
  - name: main
    image: docker.io/library/busybox:1.36
    command: [sh, -c, ${JSON.stringify(script)}]
`;
}

async function answersOf(ask: () => Promise<string>, times: number): Promise<Set<string>> {
  const answers = new Set<string>();
  for (let index = 0; index < times; index += 1) answers.add((await ask()).trim());
  return answers;
}

function firstWord(text: string): string {
  return text.split(/\s/)[0] ?? "";
}

/** The next lines a program writes; the program is ended then, unless it is kept. */
async function linesOf(
  child: ReturnType<TestCluster["spawnKubectl"]>,
  count: number,
  options: { readonly keep?: boolean; readonly timeoutMs?: number } = {},
): Promise<readonly string[]> {
  let text = "";
  let errors = "";
  child.stderr?.on("data", (chunk: Buffer) => {
    errors += chunk.toString("utf8");
  });
  const enough = Promise.withResolvers<void>();
  child.stdout?.on("data", (chunk: Buffer) => {
    text += chunk.toString("utf8");
    if (text.split("\n").length > count) enough.resolve();
  });
  child.once("exit", () => enough.reject(new Error(`it ended early: ${text}${errors}`)));
  const timer = setTimeout(
    () => enough.reject(new Error(`no ${count} lines in time: ${text}${errors}`)),
    options.timeoutMs ?? 20_000,
  );
  try {
    await enough.promise;
  } finally {
    clearTimeout(timer);
    if (options.keep !== true) child.kill();
  }
  return text.split("\n").slice(0, count);
}
