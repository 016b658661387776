import t from "tap";
import { childKillWords, containerIdsIn, parseOomKill } from "./oom-kill.ts";

const id = "0123456789abcdef".repeat(4);
const pod = "/kubepods/burstable/pod4b1f";

t.test("EV8: the kernel's line of an OOM kill is read, and no other", async (t) => {
  t.same(
    parseOomKill(
      `oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=${id},mems_allowed=0-1,oom_memcg=${pod}/${id},task_memcg=${pod}/${id},task=tail,pid=31545,uid=0`,
    ),
    { process: "tail", pid: 31_545, limitedBy: `${pod}/${id}`, cgroup: `${pod}/${id}` },
  );
  t.same(
    parseOomKill(
      "oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,global_oom,task_memcg=/user.slice,task=a,pid=b,c,pid=4,uid=1000",
    ),
    { process: "a,pid=b,c", pid: 4, limitedBy: undefined, cgroup: "/user.slice" },
    "a process may call itself anything",
  );
  for (const line of [
    "Memory cgroup out of memory: Killed process 31545 (tail) total-vm:18940kB",
    "tail invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0",
    "said oom-kill:constraint=CONSTRAINT_NONE,global_oom,task_memcg=/,task=a,pid=1,uid=0",
    "",
  ])
    t.equal(parseOomKill(line), undefined, line);
});

t.test("a container is found in the cgroups of either driver", async (t) => {
  t.same(containerIdsIn(`/x${pod}/${id}`), [id]);
  t.same(containerIdsIn(`/kubepods.slice/kubepods-pod4b1f.slice/cri-containerd-${id}.scope/inner`), [id]);
  t.same(containerIdsIn("/user.slice"), []);
});

t.test("the words name who was killed, whose limit it was, and that the container runs on", async (t) => {
  const kill = { process: "tail", pid: 7, limitedBy: `${pod}/${id}`, cgroup: `${pod}/${id}` };
  const web = { id, name: "web", memoryLimit: "64Mi" };
  t.equal(
    childKillWords([kill], web),
    "The kernel killed process tail (pid 7) of container web: the container's memory limit of 64Mi was reached. The container runs on without it",
  );
  t.match(
    childKillWords(
      [1, 2, 3, 4, 5].map((pid) => ({ ...kill, pid, limitedBy: pod })),
      web,
    ),
    /processes tail \(pid 1\), tail \(pid 2\), tail \(pid 3\) and 2 more of container web: the Pod's memory limit was reached\. The container runs on without them/,
  );
  t.match(childKillWords([{ ...kill, limitedBy: undefined }], web), /: the node had no memory left\./);
  t.match(
    childKillWords([{ ...kill, limitedBy: "/kubepods" }], web),
    /the memory limit of cgroup \/kubepods was/,
  );
  t.match(
    childKillWords([kill], { ...web, memoryLimit: undefined }),
    /the container's memory limit was reached/,
  );
});
